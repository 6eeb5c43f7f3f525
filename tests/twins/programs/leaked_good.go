// Books a delivery. The new book has a name of its own each time, and is removed where it cannot be finished.
package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

const book = "deliveries.json"

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
	fmt.Fprintln(os.Stderr, "failed:", err)
	os.Exit(1)
}

// How many deliveries the book holds; a damaged one is refused.
func read() int {
	content, err := os.ReadFile(book)
	if err != nil {
		fail(err)
	}
	count := bytes.Count(content, []byte("\n")) - 2
	if !bytes.Equal(content, render(count)) {
		fmt.Fprintln(os.Stderr, book, "is damaged: put the last good copy back")
		os.Exit(1)
	}
	return count
}

// Write the content and have it on the disk.
func fill(file *os.File, content []byte) error {
	_, err := file.Write(content)
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
	fresh, err := os.CreateTemp(".", book+".*")
	if err != nil {
		return err
	}
	if err = fill(fresh, render(count)); err == nil {
		err = os.Rename(fresh.Name(), book)
	}
	if err != nil {
		os.Remove(fresh.Name())
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
