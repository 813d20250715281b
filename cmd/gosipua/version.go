package main

import (
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

func versionCommand() command {
	return command{
		name: "version", short: "what this program was built from",
		long: `Prints the version, the revision it was built from, and the Go version and
system it was built for.`,
		setup: func(p *program, _ *flag.FlagSet) func([]string) error {
			return func(rest []string) error {
				if err := none("version", rest); err != nil {
					return err
				}
				info, _ := debug.ReadBuildInfo()
				fmt.Fprintln(p.stdout, describeBuild(info))
				return nil
			}
		},
	}
}

// describeBuild puts the build information on one line.
func describeBuild(info *debug.BuildInfo) string {
	version := "gosipua " + versionOf(info)
	var details []string
	if info != nil {
		set := map[string]string{}
		for _, s := range info.Settings {
			set[s.Key] = s.Value
		}
		if revision := set["vcs.revision"]; revision != "" {
			text := "revision " + revision[:min(12, len(revision))]
			if set["vcs.modified"] == "true" {
				text += " with changes"
			}
			details = append(details, text, set["vcs.time"])
		}
	}
	details = append(details, runtime.Version()+" "+runtime.GOOS+"/"+runtime.GOARCH)
	return version + " (" + strings.Join(details, ", ") + ")"
}

// versionOf is the module's version; "devel" for a build from a working tree.
func versionOf(info *debug.BuildInfo) string {
	if info == nil || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}
