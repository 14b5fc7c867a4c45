package pace

import "time"

// maxFilter is the most of the present turn and the one before it.
type maxFilter struct {
	most  [2]float64
	since time.Time
}

func (f *maxFilter) add(value float64) { f.most[0] = max(f.most[0], value) }

// reset forgets all but one value.
func (f *maxFilter) reset(value float64) { f.most = [2]float64{value, 0} }

// turn begins the next turn, unless the present one is too short to count.
func (f *maxFilter) turn(now time.Time) {
	if now.Sub(f.since) > rateWindow && f.most[0] > 0 {
		f.most[1], f.most[0], f.since = f.most[0], 0, now
	}
}

func (f *maxFilter) max() float64 { return max(f.most[0], f.most[1]) }

// sample is how many bytes had been sent at a moment.
type sample struct {
	at    time.Time
	bytes uint64
}

// samples are the recent ones, oldest first.
type samples struct {
	ring [512]sample
	head int // the oldest
	n    int
}

func (s *samples) reset(v sample) {
	s.head, s.n = 0, 0
	s.push(v)
}

func (s *samples) get(i int) *sample { return &s.ring[(s.head+i)%len(s.ring)] }

func (s *samples) push(v sample) {
	if s.n == len(s.ring) {
		s.head = (s.head + 1) % len(s.ring)
		s.n--
	}
	*s.get(s.n) = v
	s.n++
}

// add adds a sample. Those closer together than a hundredth of span are one.
func (s *samples) add(v sample, span time.Duration) {
	if s.n > 1 && v.at.Sub(s.get(s.n-2).at) < span/100 {
		*s.get(s.n - 1) = v
	} else {
		s.push(v)
	}
}

// when is when so many bytes were reached.
func (s *samples) when(bytes uint64) time.Time {
	low, high := 0, s.n-1
	for low < high {
		if middle := (low + high) / 2; s.get(middle).bytes < bytes {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return s.get(low).at
}
