package media

import (
	"math"
	"time"
)

// emodel holds those inputs of the E-model (ITU-T G.107) that vary from call to call; all others are at the defaults
// of its table 3. The path is taken as free of echo, as digital end to end.
type emodel struct {
	delay   time.Duration // Ta: mouth to ear
	echo    time.Duration // T: one-way delay of talker echo; 0 for a path without one
	round   time.Duration // Tr: round trip in the listener's loop; 0 likewise
	ie, bpl float64       // of the codec
	loss    float64       // Ppl, 0-1, packets discarded as late included
	burst   float64       // BurstR, at least 1
}

// Defaults of G.107 table 3, all in dB but the last, which is in quantising distortion units.
const (
	emSLR, emRLR   = 8.0, 2.0   // loudness ratings, sending and receiving
	emSTMR, emLSTR = 15.0, 18.0 // sidetone masking, listener sidetone
	emDs, emDr     = 3.0, 3.0   // D-values of the telephones
	emTELR, emWEPL = 65.0, 110.0
	emNc, emNfor   = -70.0, -64.0 // circuit noise, noise floor
	emPs, emPr     = 35.0, 35.0   // room noise at both sides
	emQdu          = 1.0
)

// r is the transmission rating, 0 to 93.2 for narrow band (equation 7-1).
func (e emodel) r() float64 {
	ro, no := signalToNoise()
	ist := sidetone(ms(e.echo))
	return ro - simultaneous(ro, no, ist) - e.delayed(ro, no) - e.equipment()
}

// mos is the mean opinion score for r (equation B-4).
func (e emodel) mos() float64 { return mosOf(e.r()) }

func mosOf(r float64) float64 {
	switch {
	case r <= 0:
		return 1
	case r >= 100:
		return 4.5
	}
	return 1 + 0.035*r + r*(r-60)*(100-r)*7e-6
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// signalToNoise is Ro and No (section 7.2).
func signalToNoise() (ro, no float64) {
	const olr = emSLR + emRLR
	pre := emPr + 10*math.Log10(1+math.Pow(10, (10-emLSTR)/10))
	room := func(over float64) float64 { return 0.004 * over * over }
	nos := emPs - emSLR - emDs - 100 + room(emPs-olr-emDs-14)
	nor := emRLR - 121 + pre + 0.008*(pre-35)*(pre-35)
	var power float64
	for _, n := range []float64{emNc, nos, nor, emNfor + emRLR} {
		power += math.Pow(10, n/10)
	}
	no = 10 * math.Log10(power)
	return 15 - 1.5*(emSLR+no), no
}

// sidetone is Ist (equation 7-10).
func sidetone(t float64) float64 {
	stmr := -10 * math.Log10(math.Pow(10, -emSTMR/10)+math.Exp(-t/4)*math.Pow(10, -emTELR/10))
	return 12*math.Pow(1+math.Pow((stmr-13)/6, 8), 1.0/8) - 28*math.Pow(1+math.Pow((stmr+1)/19.4, 35), 1.0/35) -
		13*math.Pow(1+math.Pow((stmr-3)/33, 13), 1.0/13) + 29
}

// simultaneous is Is (section 7.3): what is wrong at the same time as the voice.
func simultaneous(ro, no, ist float64) float64 {
	x := emSLR + emRLR + 0.2*(64+no-emRLR)
	iolr := 20 * (math.Pow(1+math.Pow(x/8, 8), 1.0/8) - x/8)
	q := 37 - 15*math.Log10(emQdu)
	g := 1.07 + 0.258*q + 0.0602*q*q
	iq := 15 * math.Log10(1+math.Pow(10, (ro-100)/15+46/8.4-g/9)+math.Pow(10, 46.0/30-g/40))
	return iolr + ist + iq
}

// delayed is Id (section 7.4): talker echo, listener echo and delay itself. With the default STMR the sidetone does not
// add to the echo.
func (e emodel) delayed(ro, no float64) float64 {
	t, tr := ms(e.echo), ms(e.round)
	terv := emTELR - 40*math.Log10((1+t/10)/(1+t/150)) + 6*math.Exp(-0.3*t*t)
	roe, re := -1.5*(no-emRLR), 80+2.5*(terv-14)
	idte := ((roe-re)/2 + math.Sqrt((roe-re)*(roe-re)/4+100) - 1) * (1 - math.Exp(-t))
	rle := 10.5 * (emWEPL + 7) * math.Pow(tr+1, -0.25)
	idle := (ro-rle)/2 + math.Sqrt((ro-rle)*(ro-rle)/4+169)
	return idte + idle + absoluteDelay(ms(e.delay))
}

// absoluteDelay is Idd (equations 7-27 and 7-28): below 100 ms nobody minds.
func absoluteDelay(ta float64) float64 {
	if ta <= 100 {
		return 0
	}
	x := math.Log2(ta / 100)
	return 25 * (math.Pow(1+math.Pow(x, 6), 1.0/6) - 3*math.Pow(1+math.Pow(x/3, 6), 1.0/6) + 2)
}

// equipment is Ie,eff (equation 7-29).
func (e emodel) equipment() float64 {
	ppl := 100 * e.loss
	if ppl <= 0 {
		return e.ie
	}
	return e.ie + (95-e.ie)*ppl/(ppl/max(e.burst, 1)+e.bpl)
}
