package media

import "math/bits"

// ulawEncode is ITU-T G.711 mu-law of one 16-bit sample, of which the upper 14 bits count.
func ulawEncode(pcm int16) byte {
	sign := byte(0x80)
	mag := int(pcm)
	if mag < 0 {
		sign, mag = 0, ^mag
	}
	mag = min(mag>>2+33, 0x1fff)
	seg := bits.Len16(uint16(mag >> 5)) // 1..8: the bias of 33 makes the segments powers of two
	return sign | byte(8-seg)<<4 | byte(0xf-mag>>seg&0xf)
}

// ulawDecode is the inverse of ulawEncode, scaled to 16 bits.
func ulawDecode(code byte) int16 {
	exp := ^code >> 4 & 7
	mag := (int(^code&0xf)<<3+0x84)<<exp - 0x84
	if code&0x80 == 0 {
		mag = -mag
	}
	return int16(mag)
}

// alawEncode is ITU-T G.711 A-law of one 16-bit sample, of which the upper 13 bits count.
func alawEncode(pcm int16) byte {
	sign := byte(0x80)
	mag := int(pcm)
	if mag < 0 {
		sign, mag = 0, ^mag
	}
	mag >>= 4
	if seg := bits.Len16(uint16(mag >> 4)); seg > 0 {
		mag = seg<<4 | mag>>(seg-1)&0xf
	}
	return (sign | byte(mag)) ^ 0x55 // even bits are inverted on the line
}

// alawDecode is the inverse of alawEncode, scaled to 16 bits.
func alawDecode(code byte) int16 {
	code ^= 0x55
	exp := int(code >> 4 & 7)
	mag := int(code&0xf)<<4 + 8
	if exp > 0 {
		mag = (mag + 0x100) << (exp - 1)
	}
	if code&0x80 == 0 {
		mag = -mag
	}
	return int16(mag)
}
