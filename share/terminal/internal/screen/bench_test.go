package screen

import (
	"bytes"
	"testing"
)

func BenchmarkWrite(b *testing.B) {
	for name, output := range map[string]string{
		"yes":    "y\r\n",
		"text":   "The quick brown fox jumps over the lazy dog, again and again and again.\r\n",
		"colour": "\x1b[1;32mok\x1b[0m \x1b[38;5;33mname\x1b[m\x1b[K\r\n",
		"wide":   "世界、こんにちは。\r\n",
	} {
		b.Run(name, func(b *testing.B) {
			s := New(80, 24)
			p := bytes.Repeat([]byte(output), 16<<10/len(output))
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				if _, err := s.Write(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
