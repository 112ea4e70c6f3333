/* The control socket's file: made, found, and removed. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/long.h"
#include "vmm/control/server.h"
#include "vmm/control/socket.h"

static char folder[64], path[96];
static struct control *control;
static const struct control_method methods[] = { { NULL, NULL, NULL } };

static void init(void)
{
	strcpy(folder, "/tmp/bifold-control-XXXXXX");
	cr_assert(mkdtemp(folder) != NULL);
	snprintf(path, sizeof(path), "%s/s", folder);
}

static void finish(void)
{
	unlink(path);
	rmdir(folder);
}

TestSuite(control_socket, .init = init, .fini = finish, .timeout = 60);

static void begin(void)
{
	cr_assert_eq(control_create(path, methods, NULL, &control), 0);
}

static void end(void)
{
	struct stat status;

	control_destroy(control);
	cr_assert(lstat(path, &status) != 0 && errno == ENOENT, "the socket is left");
}

static void refused(const char *at)
{
	cr_assert_lt(control_create(at, methods, NULL, &control), 0, "%s", at);
}

Test(control_socket, stale_socket_is_replaced)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(address.sun_path, path);
	cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	cr_assert_eq(listen(fd, 1), 0);
	refused(path); /* somebody answers */
	close(fd);
	begin();
	end();
}

/* Without the lock nobody may judge what is there. */
Test(control_socket, folder_that_stays_locked)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	cr_assert(fd >= 0 && flock(fd, LOCK_EX) == 0);
	refused(path);
	cr_assert_eq(access(path, F_OK), -1);
	close(fd);
	begin();
	end();
}

#define STARTERS 4

static pthread_barrier_t together;

/* NULL: somebody else was first. */
static void *start_one(void *argument)
{
	struct control_socket *socket = argument;

	pthread_barrier_wait(&together);
	return control_socket_open(path, socket) == 0 ? socket : NULL;
}

/* However many start at once over a dead socket, one serves, and clients reach him. */
Test(control_socket, one_of_many_starts_over_a_stale_socket)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	strcpy(address.sun_path, path);
	pthread_barrier_init(&together, NULL, STARTERS);
	for (unsigned round = 0; round < test_times(200, 2000); round++) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), client;
		struct control_socket socket[STARTERS], *served = NULL;
		pthread_t thread[STARTERS];
		unsigned count = 0;
		void *won;

		cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
		close(fd);
		for (int i = 0; i < STARTERS; i++)
			pthread_create(&thread[i], NULL, start_one, &socket[i]);
		for (int i = 0; i < STARTERS; i++) {
			pthread_join(thread[i], &won);
			count += won != NULL;
			served = won != NULL ? won : served;
		}
		cr_assert_eq(count, 1, "round %u: %u serve", round, count);
		client = control_socket_connect(path);
		cr_assert_geq(client, 0);
		close(client);
		control_socket_close(served);
	}
}

Test(control_socket, what_is_no_socket_is_left_alone)
{
	char target[128];
	struct stat status;
	int fd = open(path, O_CREAT | O_WRONLY, 0644);

	refused(path);
	cr_assert(stat(path, &status) == 0 && S_ISREG(status.st_mode));
	close(fd);
	unlink(path);
	snprintf(target, sizeof(target), "%s/target", folder);
	cr_assert_eq(symlink(target, path), 0);
	refused(path);
	cr_assert(lstat(path, &status) == 0 && S_ISLNK(status.st_mode));
	unlink(path);
	refused(folder);
	refused("");
	refused("/nonexistent/s");
	{
		char name[200];

		memset(name, 'a', sizeof(name) - 1);
		name[sizeof(name) - 1] = '\0';
		refused(name);
	}
}

/* Another may have taken the name meanwhile: that one stays. */
Test(control_socket, removes_only_its_own)
{
	struct control *first;
	struct stat status;

	begin();
	first = control;
	unlink(path);
	begin();
	control_destroy(first);
	cr_assert_eq(lstat(path, &status), 0);
	end();
}
