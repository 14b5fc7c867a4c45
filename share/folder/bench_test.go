package folder_test

import (
	"io"
	"path/filepath"
	"strconv"
	"testing"

	"tandem/share/folder"
)

func BenchmarkRead(b *testing.B) {
	there := b.TempDir()
	const size = 64 << 20
	write(b, filepath.Join(there, "big"), content(size, 1))
	c := offer(b, folder.Share{Dir: there})
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Read(b.Context(), "big", io.Discard, folder.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPutSmallFiles(b *testing.B) {
	here := b.TempDir()
	const files = 500
	for i := range files {
		write(b, filepath.Join(here, strconv.Itoa(i)), content(4096, uint64(i)))
	}
	for b.Loop() {
		c := offer(b, folder.Share{Dir: b.TempDir()})
		if _, err := c.Put(b.Context(), here, "", folder.Options{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*files)/b.Elapsed().Seconds(), "files/s")
}
