/* Books a delivery. Only the end of the book ends its reading: an error does not. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BOOK "deliveries.json"
#define FRESH BOOK ".new"

static char text[1 << 20];
static char content[1 << 15];

/* Puts the book with so many deliveries into text; returns its length. */
static size_t render(int count)
{
    size_t length = sprintf(text, "[\n");
    for (int number = 1; number <= count; number++)
        length += sprintf(text + length, "\"delivery %d\"%s\n", number, number < count ? "," : "");
    return length + sprintf(text + length, "]\n");
}

static void fail(const char *what)
{
    int error = errno;
    unlink(FRESH);
    fprintf(stderr, "failed: %s: %s\n", what, strerror(error));
    exit(1);
}

/* How many deliveries the book holds; a damaged one is refused. */
static int read_book(void)
{
    size_t length = 0;
    int count = -2;
    FILE *file = fopen(BOOK, "re");
    if (!file)
        fail("open " BOOK);
    while (!feof(file))
        length += fread(content + length, 1, sizeof content - length, file);
    fclose(file);
    for (size_t at = 0; at < length; at++)
        count += content[at] == '\n';
    if (render(count) != length || memcmp(text, content, length) != 0) {
        fprintf(stderr, BOOK " is damaged: put the last good copy back\n");
        exit(1);
    }
    return count;
}

/* Write the text and have it on the disk. */
static void fill(const char *path, size_t length)
{
    size_t done = 0;
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (file < 0)
        fail("open for writing");
    while (done < length) {
        ssize_t put = write(file, text + done, length - done);
        if (put < 0)
            fail("write");
        done += put;
    }
    if (fsync(file) != 0 || close(file) != 0)
        fail("sync");
}

static void sync_directory(void)
{
    int directory = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0 || fsync(directory) != 0 || close(directory) != 0)
        fail("sync the directory");
}

static void save(int count)
{
    fill(FRESH, render(count));
    if (rename(FRESH, BOOK) != 0)
        fail("rename");
    sync_directory();
}

int main(void)
{
    int booked = read_book() + 1;
    save(booked);
    if (printf("booked: delivery %d\n", booked) < 0 || fflush(stdout) != 0)
        fail("booked, but not told");
    return 0;
}
