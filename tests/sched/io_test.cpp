// The descriptor table by itself: which events reach which slot. Waiting is tested through sockets, in tests/net.
#include "runtime/sched/io.hpp"

#include <cerrno>

#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/catch.hpp"

using namespace weft::rt;

namespace {

std::uint64_t tag_of(io_slot& s) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  return (static_cast<std::uint64_t>(s.generation) << 32) | s.index;
}

poll_event event(std::uint64_t tag, bool readable, bool writable, bool hangup = false, bool error = false) {
  return {.tag = tag, .readable = readable, .writable = writable, .hangup = hangup, .error = error};
}

int some_descriptor() {
  int fds[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
  ::close(fds[1]);
  return fds[0];
}

struct edges_of {
  std::uint32_t read, write;
  explicit edges_of(io_slot& s) : read(s.side(io_direction::read).edges), write(s.side(io_direction::write).edges) {}
};

}  // namespace

TEST_CASE("an event counts in the directions that it is about, a hang-up or an error in both") {
  poller p;
  io_table table(p);
  io_slot* s = io_open(some_descriptor(), io_kind::socket);
  ready_list woken;
  edges_of const before(*s);
  poll_event const readable = event(tag_of(*s), true, false), writable = event(tag_of(*s), false, true);
  table.dispatch(&readable, 1, woken);
  table.dispatch(&writable, 1, woken);
  table.dispatch(&writable, 1, woken);
  CHECK(edges_of(*s).read == before.read + 1);
  CHECK(edges_of(*s).write == before.write + 2);
  CHECK_FALSE(s->hangup);
  poll_event const both[] = {event(tag_of(*s), false, false, true), event(tag_of(*s), false, false, false, true)};
  table.dispatch(both, 2, woken);
  CHECK(edges_of(*s).read == before.read + 3);
  CHECK(edges_of(*s).write == before.write + 4);
  CHECK(s->hangup);
  CHECK(woken.empty());
  io_release(*s);
}

TEST_CASE("an event of a slot's earlier life is dropped") {
  poller p;
  io_table table(p);
  io_slot* old = io_open(some_descriptor(), io_kind::socket);
  std::uint64_t const stale = tag_of(*old);
  io_release(*old);
  io_slot* s = io_open(some_descriptor(), io_kind::socket);
  REQUIRE(s == old);  // the last slot that was given back is the next one taken
  edges_of const before(*s);
  ready_list woken;
  poll_event const late = event(stale, true, true, true, true);
  table.dispatch(&late, 1, woken);
  CHECK(edges_of(*s).read == before.read);
  CHECK(edges_of(*s).write == before.write);
  CHECK_FALSE(s->hangup);
  io_release(*s);
}

TEST_CASE("a descriptor is given back by the last operation that leaves, and only once") {
  int const fd = some_descriptor();
  io_slot* s = io_open(fd, io_kind::other);
  {
    io_use const reading(s);
    REQUIRE(reading);
    CHECK(io_close(*s));
    CHECK_FALSE(io_close(*s));
    CHECK_FALSE(io_use(s));
    CHECK(::send(fd, "", 0, MSG_NOSIGNAL | MSG_DONTWAIT) != 0);
    CHECK(errno != EBADF);  // still open: the peer is gone, the number is not
  }
  CHECK(::send(fd, "", 0, MSG_NOSIGNAL | MSG_DONTWAIT) != 0);
  CHECK(errno == EBADF);
  io_release(*s);
  CHECK_FALSE(io_use(nullptr));
}

TEST_CASE("a past deadline is seen, never is not") {
  io_slot* s = io_open(some_descriptor(), io_kind::socket);
  io_side& side = s->side(io_direction::read);
  CHECK_FALSE(io_past_deadline(side));
  io_set_deadline(*s, io_direction::read, clock_ns());
  CHECK(io_past_deadline(side));
  CHECK_FALSE(io_past_deadline(s->side(io_direction::write)));
  io_set_deadline(*s, io_direction::read, clock_ns() + 3'600'000'000'000);
  CHECK_FALSE(io_past_deadline(side));
  io_release(*s);
}
