/* What runs inside the guest: workloads on a real file system, and the replay of their logged block writes.
 *
 *   guest work N DIRECTORY PAUSE_MS     one workload, with pauses so that write-back happens in between
 *   guest replay DEVICE TYPE            for each cut of a pack: build the disk, mount it, say what stands there
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static int pause_ms;
static char buffer[1 << 16];

static void rest(void) { if (pause_ms) usleep(pause_ms * 1000); }

static int file(const char *name, int flags) {
    int f = open(name, flags | O_WRONLY, 0644);
    if (f < 0) { perror(name); exit(1); }
    return f;
}

static void put(int f, char letter, size_t size, off_t at) {
    memset(buffer, letter, size);
    ssize_t done = at < 0 ? write(f, buffer, size) : pwrite(f, buffer, size, at);
    if (done != (ssize_t)size) exit(2);
    rest();
}

static void replace(const char *target, char letter, size_t size, int synced) {
    int f = file("tmp", O_CREAT | O_TRUNC);
    put(f, letter, size, -1);
    if (synced) fsync(f);
    close(f);
    rename("tmp", target);
    rest();
}

static void give(int f, const char *name) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", f);
    if (linkat(AT_FDCWD, path, AT_FDCWD, name, AT_SYMLINK_FOLLOW)) exit(3);
    rest();
}

/* A commit that the program did not ask for: another's sync, or the timer. The recording on the host has none. */
static void commit(void) { if (pause_ms) sync(); }

static void copy(int from, int to, size_t size) {
    while (size) {
        ssize_t done = copy_file_range(from, NULL, to, NULL, size, 0);
        if (done <= 0) exit(3);
        size -= done;
    }
}

static int work(int number) {
    int f, n;
    switch (number) {
    case 1:
        f = file("a", 0);
        put(f, '1', 4096, 0); put(f, '2', 4096, 8192); put(f, '3', 4096, 4096);
        break;
    case 2: replace("d", '4', 9000, 0); break;
    case 3: replace("d", '5', 9000, 1); replace("d", '6', 5000, 1); break;
    case 4:
        f = file("log", O_APPEND);
        put(f, '7', 3000, -1); put(f, '8', 3000, -1); fsync(f); put(f, '9', 3000, -1);
        break;
    case 5:
        f = file("n", O_CREAT); put(f, 'n', 5000, -1); close(f);
        rename("n", "m"); rest(); unlink("a"); rest(); link("m", "l"); rest();
        break;
    case 6:
        f = file("d", O_TRUNC); put(f, 't', 6000, -1); fdatasync(f); close(f); rest();
        rename("d", "e"); rest(); f = open(".", O_RDONLY); fsync(f); rest(); rename("log", "old"); rest();
        break;
    case 7:
        f = file("log", 0); if (ftruncate(f, 1000)) return 4;
        rest(); put(f, 'a', 4000, 1000); put(f, 'b', 2000, 5000); fdatasync(f); put(f, 'c', 500, 0);
        break;
    case 8:
        if (renameat2(AT_FDCWD, "a", AT_FDCWD, "log", RENAME_EXCHANGE)) return 4;
        rest(); f = file("a", O_APPEND); put(f, 'd', 700, -1); fsync(f); rename("d", "a"); rest();
        break;
    case 9:
        f = file("n", O_CREAT); if (fallocate(f, 0, 0, 16384)) return 4;
        rest(); put(f, 'e', 4096, 8192); fdatasync(f); put(f, 'f', 4096, 0); put(f, 'g', 4096, 16384);
        break;
    case 10:
        f = file(".", O_TMPFILE); put(f, 'h', 6000, -1); fsync(f); give(f, "n"); put(f, 'i', 1000, -1);
        break;
    case 11:
        f = file("n", O_CREAT); put(f, 'j', 100, 20000); fsync(f); put(f, 'k', 4096, 4096); put(f, 'l', 4096, 40960);
        break;
    case 12:
        f = file("d", O_TRUNC); put(f, 'm', 5000, -1); close(f); rest(); unlink("log"); rest();
        f = file("log", O_CREAT); put(f, 'n', 300, -1); close(f); rest();
        break;
    case 13:
        f = file("log", O_APPEND | O_SYNC); put(f, 'o', 2000, -1); close(f);
        f = file("a", O_DSYNC); put(f, 'p', 4096, 4096); put(f, 'q', 4096, 12288); close(f);
        f = file("d", 0); put(f, 'r', 50, 20);
        break;
    case 14:
        f = file("a", 0); put(f, 's', 4096, 0); sync(); rest(); put(f, 't', 4096, 4096); rename("d", "e"); rest();
        syncfs(f); rest(); put(f, 'u', 4096, 8192); unlink("e"); rest();
        break;
    case 15:
        mkdir("sub", 0755); rest(); f = file("sub/x", O_CREAT); put(f, 'v', 3000, -1); fsync(f); rest();
        rename("sub/x", "x"); rest(); f = open("sub", O_RDONLY); fsync(f); rest(); rmdir("sub"); rest();
        break;
    case 16:
        f = open("log", O_RDONLY); copy(f, file("n", O_CREAT), 5000); rest(); unlink("log"); rest();
        break;
    case 17:
        f = file("log", O_APPEND); put(f, 'w', 3000, -1); put(file("a", 0), 'x', 4096, 0); fsync(f);
        put(file("d", 0), 'y', 100, 0); put(f, 'z', 3000, -1); fsync(f); rest();
        break;
    case 18: /* a rollback journal */
        f = file("j", O_CREAT); put(f, 'A', 4096, -1); fsync(f); close(f); rest();
        f = file("a", 0); put(f, 'B', 4096, 4096); put(f, 'C', 4096, 8192); fsync(f); close(f); rest();
        unlink("j"); rest();
        break;
    case 19: /* a write-ahead log and its checkpoint */
        f = file("w", O_CREAT); put(f, 'D', 4096, -1); fdatasync(f); put(f, 'E', 4096, -1); fdatasync(f); rest();
        n = file("a", 0); put(n, 'F', 4096, 0); put(n, 'G', 4096, 4096); fdatasync(n); rest();
        if (ftruncate(f, 0)) return 4;
        rest(); put(f, 'H', 4096, 0);
        break;
    case 20:
        f = file("a", 0); if (fallocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 4096)) return 4;
        rest(); if (ftruncate(f, 20000)) return 4;
        rest(); put(f, 'I', 4096, 4096); fsync(f); put(f, 'J', 4096, 0);
        break;
    case 21: /* a commit for another file's sake, while what was appended still waits to be written back */
        n = pause_ms; pause_ms = 0;
        f = file("log", O_APPEND); put(f, 'K', 2000, -1);
        f = file("d", 0); put(f, 'M', 50, 20); fsync(f);
        pause_ms = n; rest();
        break;
    case 22: /* an object is synced under a temporary name, then linked; a reference to it is synced and renamed */
        mkdir("obj", 0755); f = file("obj/t", O_CREAT); put(f, 'N', 3000, -1); fsync(f); close(f); commit();
        if (link("obj/t", "obj/o")) return 4;
        unlink("obj/t"); replace("d", 'O', 41, 1);
        f = file("a", 0); put(f, 'P', 4096, 0); fsync(f); rest();
        break;
    case 23: /* a journal that is removed when all is done, and nothing is synced */
        mkdir("sub", 0755); f = file("sub/j", O_CREAT); put(f, 'Q', 300, -1); close(f); rest();
        rename("log", "old"); rest(); replace("d", 'R', 5000, 0); f = file("a", 0); put(f, 'S', 4096, 4096); rest();
        unlink("sub/j"); rest(); rmdir("sub"); rest(); rename("old", "new"); rest();
        break;
    default: return 3;
    }
    return 0;
}

static uint32_t crc(uint32_t c, const unsigned char *p, size_t n) {
    c = ~c;
    while (n--) { c ^= *p++; for (int k = 0; k < 8; k++) c = c & 1 ? (c >> 1) ^ 0xEDB88320u : c >> 1; }
    return ~c;
}

static int by_name(const struct dirent **x, const struct dirent **y) { return strcmp((*x)->d_name, (*y)->d_name); }

static void look(const char *directory, const char *above) {
    struct dirent **names;
    int n = scandir(directory, &names, NULL, by_name);
    for (int i = 0; i < n; i++) {
        const char *name = names[i]->d_name;
        char path[512], shown[512];
        struct stat info;
        if (name[0] == '.' || !strcmp(name, "lost+found")) continue;
        snprintf(path, sizeof path, "%s/%s", directory, name);
        snprintf(shown, sizeof shown, "%s%s", above, name);
        if (!lstat(path, &info) && S_ISDIR(info.st_mode)) {
            strcat(shown, "/");
            printf(" %s", shown);
            look(path, shown);
            continue;
        }
        int f = open(path, O_RDONLY);
        uint32_t sum = 0; size_t size = 0; ssize_t got;
        while ((got = read(f, buffer, sizeof buffer)) > 0) { sum = crc(sum, (unsigned char *)buffer, got); size += got; }
        printf(" %s:%zu:%08x%s", shown, size, sum, got < 0 ? ":unreadable" : "");
        close(f);
    }
}

struct piece { uint64_t offset, size; const char *data; };

static const char *at;
static uint64_t number(void) { uint64_t v; memcpy(&v, at, 8); at += 8; return v; }

static struct piece *pieces(uint64_t count) {
    struct piece *p = calloc(count, sizeof *p);
    for (uint64_t i = 0; i < count; i++) {
        p[i].offset = number(); p[i].size = number(); p[i].data = at; at += p[i].size;
    }
    return p;
}

static void store(int f, struct piece *p) {
    for (uint64_t done = 0; done < p->size;) {
        ssize_t n = pwrite(f, p->data + done, p->size - done, p->offset + done);
        if (n <= 0) { perror("pwrite"); exit(4); }
        done += n;
    }
}

static int replay(const char *device, const char *type) {
    uint64_t total;
    int f = open(device, O_RDONLY);
    if (read(f, &total, 8) != 8) return 5;
    char *pack = malloc(total);
    for (uint64_t got = 0; got < total;) {
        ssize_t n = pread(f, pack + got, total - got > (1 << 20) ? 1 << 20 : total - got, got);
        if (n <= 0) return 6;
        got += n;
    }
    close(f);
    at = pack + 8;
    for (uint64_t logs = number(); logs; logs--) {
        uint64_t size = number(), bases = number();
        struct piece *base = pieces(bases);
        struct piece *entries = pieces(number());
        uint64_t cuts = number();
        for (uint64_t cut = 0; cut < cuts; cut++) {
            int disk = open("/area/disk", O_RDWR | O_CREAT | O_TRUNC, 0600);
            if (ftruncate(disk, size)) return 7;
            for (uint64_t i = 0; i < bases; i++) store(disk, base + i);
            for (uint64_t left = number(); left; left--) store(disk, entries + number());
            int loop = open("/dev/loop0", O_RDWR);
            if (ioctl(loop, LOOP_SET_FD, disk)) { perror("loop"); return 8; }
            printf("CUT %d", (int)cut);
            if (mount("/dev/loop0", "/m", type, 0, "")) printf(" MOUNT %d", errno);
            else { look("/m", ""); while (umount2("/m", 0) && errno == EBUSY) usleep(1000); }
            printf("\n");
            fflush(stdout);
            while (ioctl(loop, LOOP_CLR_FD, 0) && errno == EBUSY) usleep(1000);
            close(loop); close(disk);
        }
    }
    printf("REPLAYED\n");
    return 0;
}

int main(int n, char **v) {
    if (n == 5 && !strcmp(v[1], "work")) {
        pause_ms = atoi(v[4]);
        return chdir(v[3]) ? 9 : work(atoi(v[2]));
    }
    return n == 4 ? replay(v[2], v[3]) : 10;
}
