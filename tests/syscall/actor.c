/* Makes the system calls that its command line names, one after another:
 *
 *   actor NUMBER ARGUMENT… ';' NUMBER ARGUMENT… ';' …
 *
 * Arguments: a number as C writes it, `p` its own process id, `$N` what call N returned (from 0), or a pointer to:
 * `s:TEXT`, `x:BYTES` as hexadecimal digits, `b:N` zeroed bytes, `a:ONE,TWO` an array of texts, `v:TEXT` a struct iovec,
 * `m:TEXT` or `m:TEXT@SOCKADDR` a struct msghdr, `4:PORT` and `6:PORT` an address of the loopback, `u:PATH` one of the
 * Unix family (`u:@NAME` is abstract). In the place of a number: `fork` and `vfork` start a child and wait for its end,
 * `thread` makes the rest of the calls in another thread, `sleep` sleeps milliseconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static long results[64];
static int calls;
static char **words;

static void *zeros(size_t size)
{
	void *memory = calloc(1, size ? size : 1);

	if (!memory)
		exit(3);
	return memory;
}

static void *hex(const char *text)
{
	unsigned char *bytes = zeros(256);
	unsigned byte;

	for (int i = 0; i < 256 && sscanf(text + 2 * i, "%2x", &byte) == 1; i++)
		bytes[i] = byte;
	return bytes;
}

static void *address(char *text, unsigned *size)
{
	struct sockaddr_storage *to = zeros(sizeof(*to));
	struct sockaddr_in *v4 = (void *)to;
	struct sockaddr_in6 *v6 = (void *)to;
	struct sockaddr_un *un = (void *)to;

	if (text[0] == '4') {
		*size = sizeof(*v4);
		v4->sin_family = AF_INET;
		v4->sin_port = htons(atoi(text + 2));
		v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	} else if (text[0] == '6') {
		*size = sizeof(*v6);
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(atoi(text + 2));
		v6->sin6_addr = in6addr_loopback;
	} else {
		*size = sizeof(*un);
		un->sun_family = AF_UNIX;
		strncpy(un->sun_path, text + 2, sizeof(un->sun_path) - 1);
		if (un->sun_path[0] == '@')
			un->sun_path[0] = 0;
	}
	return to;
}

static long argument(char *text)
{
	struct msghdr *message;
	struct iovec *vector;
	char **array, *at;
	unsigned size;

	if (text[0] == '$')
		return results[atoi(text + 1)];
	if (!strcmp(text, "p"))
		return getpid();
	if (!text[0] || text[1] != ':')
		return strtoul(text, 0, 0);
	switch (text[0]) {
	case 's':
		return (long)(text + 2);
	case 'x':
		return (long)hex(text + 2);
	case 'b':
		return (long)zeros(atoi(text + 2));
	case '4':
	case '6':
	case 'u':
		return (long)address(text, &size);
	case 'a':
		array = zeros(64 * sizeof(*array));
		for (int i = 0; i < 63 && (array[i] = strtok(i ? 0 : text + 2, ",")); i++)
			;
		return (long)array;
	}
	message = zeros(sizeof(*message));
	if (text[0] == 'm' && (at = strchr(text, '@'))) {
		*at = 0;
		message->msg_name = address(at + 1, &size);
		message->msg_namelen = size;
	}
	vector = zeros(sizeof(*vector));
	vector->iov_base = text + 2;
	vector->iov_len = strlen(text + 2);
	message->msg_iov = vector;
	message->msg_iovlen = 1;
	return text[0] == 'm' ? (long)message : (long)vector;
}

static void *run(void *none)
{
	while (*words) {
		char *name = *words++;
		long a[6] = {};

		for (int i = 0; *words && strcmp(*words, ";"); i++, words++)
			if (i < 6)
				a[i] = argument(*words);
		if (*words)
			words++;
		if (!strcmp(name, "fork") || !strcmp(name, "vfork")) {
			pid_t child = name[0] == 'v' ? vfork() : fork();
			if (!child)
				_exit(0);
			waitpid(child, 0, 0);
			results[calls++ & 63] = child;
		} else if (!strcmp(name, "thread")) {
			pthread_t thread;
			pthread_create(&thread, 0, run, 0);
			pthread_join(thread, 0);
		} else if (!strcmp(name, "sleep")) {
			usleep(a[0] * 1000);
		} else {
			results[calls++ & 63] = syscall(atol(name), a[0], a[1], a[2], a[3], a[4], a[5]);
		}
	}
	return none;
}

int main(int argc, char **argv)
{
	words = argv + 1;
	run(0);
	return argc < 1;
}
