// Keeps the time: a goroutine writes each second how many have passed. After an error that goroutine ends.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	file  = "seconds"
	fresh = file + ".new"
)

func fail(reason ...any) {
	fmt.Fprintln(os.Stderr, append([]any{"failed:"}, reason...)...)
	os.Exit(1)
}

// How many seconds have passed so far; a damaged file is refused.
func read() int {
	content, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return 0
	}
	if err != nil {
		fail(err)
	}
	seconds, err := strconv.Atoi(strings.TrimSuffix(string(content), "\n"))
	if err != nil {
		fail(file, "is damaged: put the last good copy back")
	}
	return seconds
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

func save(seconds int) error {
	if err := fill(fresh, []byte(strconv.Itoa(seconds)+"\n")); err != nil {
		return err
	}
	if err := os.Rename(fresh, file); err != nil {
		return err
	}
	return syncDirectory()
}

func count(passed int, told chan bool, ended chan bool) {
	defer close(ended)
	for {
		passed++
		if err := save(passed); err != nil {
			fmt.Fprintln(os.Stderr, "failed:", err)
			return
		}
		select {
		case <-told:
			return
		case <-time.After(time.Second):
		}
	}
}

func main() {
	passed := read()
	stops := make(chan os.Signal, 1)
	signal.Notify(stops, syscall.SIGTERM)
	told, ended := make(chan bool), make(chan bool)
	go count(passed, told, ended)
	fmt.Println("ready")
	<-stops
	close(told)
	<-ended
}
