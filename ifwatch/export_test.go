package ifwatch

// SetReceiveBuffer makes the Watcher ask for so many bytes, to force overflows. Call it before Run.
func (w *Watcher) SetReceiveBuffer(bytes int) { w.rcvbuf = bytes }
