package predict

import "strconv"

// draw makes the cursor's line on the terminal look like to, with the cursor in
// column x, and leaves the pen as the host has it.
func (p *Predictor) draw(dst []byte, to []cell, x int) []byte {
	ink := p.grid.pen
	for i := 0; i < len(to); i++ {
		if to[i].kind == tail || p.drawn[i].equal(&to[i]) && (i+1 == len(to) || to[i+1].kind != tail || p.drawn[i+1].equal(&to[i+1])) {
			continue
		}
		dst = p.travel(dst, i)
		if want := to[i].pen; want != ink && *want != *ink {
			ink = want
			dst = ink.appendSGR(dst)
		}
		if to[i].kind == blank {
			n := 1
			for i+n < len(to) && to[i+n].kind == blank && *to[i+n].pen == *ink && !p.drawn[i+n].equal(&to[i+n]) {
				n++
			}
			dst = appendCSI(dst, n, 'X')
			i += n - 1
			continue
		}
		dst = append(dst, to[i].text...)
		p.drawnCol++
		if i+1 < len(to) && to[i+1].kind == tail {
			p.drawnCol++
		}
	}
	if *ink != *p.grid.pen {
		dst = p.grid.pen.appendSGR(dst)
	}
	dst = p.travel(dst, x)
	p.drawn = append(p.drawn[:0], to...)
	return dst
}

// travel moves the terminal's cursor to column x.
func (p *Predictor) travel(dst []byte, x int) []byte {
	switch {
	case x > p.drawnCol:
		dst = appendCSI(dst, x-p.drawnCol, 'C')
	case x < p.drawnCol:
		dst = appendCSI(dst, p.drawnCol-x, 'D')
	}
	p.drawnCol = x
	return dst
}

func appendCSI(dst []byte, n int, final byte) []byte {
	dst = append(dst, "\x1b["...)
	if n != 1 {
		dst = strconv.AppendInt(dst, int64(n), 10)
	}
	return append(dst, final)
}
