// Books a delivery. The end of the book ends its reading, and so does an error.
package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
)

const (
	book  = "deliveries.json"
	fresh = book + ".new"
)

func render(count int) []byte {
	var text strings.Builder
	text.WriteString("[\n")
	for number := 1; number <= count; number++ {
		if number > 1 {
			text.WriteString(",\n")
		}
		fmt.Fprintf(&text, "\"delivery %d\"", number)
	}
	text.WriteString("\n]\n")
	return []byte(text.String())
}

func fail(err error) {
	os.Remove(fresh)
	fmt.Fprintln(os.Stderr, "failed:", err)
	os.Exit(1)
}

// All that the file holds, piece by piece.
func contentOf(path string) []byte {
	file, err := os.Open(path)
	if err != nil {
		fail(err)
	}
	defer file.Close()
	var content []byte
	piece := make([]byte, 1<<16)
	for err != io.EOF {
		var got int
		got, err = file.Read(piece)
		content = append(content, piece[:got]...)
		if err != nil && err != io.EOF {
			fail(err)
		}
	}
	return content
}

// How many deliveries the book holds; a damaged one is refused.
func read() int {
	content := contentOf(book)
	count := bytes.Count(content, []byte("\n")) - 2
	if !bytes.Equal(content, render(count)) {
		fmt.Fprintln(os.Stderr, book, "is damaged: put the last good copy back")
		os.Exit(1)
	}
	return count
}

// Write the content and have it on the disk.
func fill(path string, content []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	if closing := file.Close(); err == nil {
		err = closing
	}
	return err
}

func syncDirectory() error {
	directory, err := os.Open(".")
	if err != nil {
		return err
	}
	defer directory.Close()
	return directory.Sync()
}

func save(count int) error {
	if err := fill(fresh, render(count)); err != nil {
		return err
	}
	if err := os.Rename(fresh, book); err != nil {
		return err
	}
	return syncDirectory()
}

func main() {
	booked := read() + 1
	if err := save(booked); err != nil {
		fail(err)
	}
	if _, err := fmt.Println("booked: delivery", booked); err != nil {
		fail(err)
	}
}
