// Data races, one a scenario: races NAME. The two lines marked with the name must be reported, and nothing else.
// What only the clock orders is no order: relaxed atomics draw no edge for ThreadSanitizer.
#include <weft/net.hpp>
#include <weft/weft.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <thread>

using namespace std::chrono_literals;

namespace {

std::atomic<bool> accessed{false};

/// The other has come first, by the clock. (Of two accesses at the very same time ThreadSanitizer may miss both.)
void let_the_other() {
  while (!accessed.load(std::memory_order_relaxed)) {
  }
}
void now_the_other() { accessed.store(true, std::memory_order_relaxed); }

void two_workers() {
  int shared = 0;
  auto first = weft::spawn([&] {
    shared = 1;  // two_workers: data race
    now_the_other();
  });
  auto second = weft::spawn([&] {
    let_the_other();
    shared = 2;  // two_workers: data race
  });
  first.join();
  second.join();
}

void one_worker() {
  int shared = 0;
  auto first = weft::spawn([&] {
    shared = 1;  // one_worker: data race
  });
  auto second = weft::spawn([&] {
    shared = 2;  // one_worker: data race
  });
  first.join();
  second.join();
}

/// The tasks have parked, and a third has woken both.
void after_a_receive() {
  int shared = 0;
  auto go = weft::make_chan<weft::unit>();
  auto first = weft::spawn([&] {
    (void)go.recv();
    shared = 1;  // after_a_receive: data race
  });
  auto second = weft::spawn([&] {
    (void)go.recv();
    shared = 2;  // after_a_receive: data race
  });
  weft::sleep_for(1ms);  // until they wait
  go.send({});
  go.send({});
  first.join();
  second.join();
}

/// What two tasks do with two channels does not order them, nor that the one has ended before the other begins.
void after_sends_elsewhere() {
  int shared = 0;
  auto of_first = weft::make_chan<int>(1), of_second = weft::make_chan<int>(1);
  auto first = weft::spawn([&] {
    of_first.send(1);
    shared = 1;  // after_sends_elsewhere: data race
  });
  auto second = weft::spawn([&] {
    of_second.send(2);
    shared = 2;  // after_sends_elsewhere: data race
  });
  first.join();
  second.join();
}

/// That one wakes later than the other orders nothing.
void after_a_sleep() {
  int shared = 0;
  auto first = weft::spawn([&] {
    weft::sleep_for(1ms);
    shared = 1;  // after_a_sleep: data race
  });
  auto second = weft::spawn([&] {
    weft::sleep_for(20ms);
    shared = 2;  // after_a_sleep: data race
  });
  first.join();
  second.join();
}

/// Nor does the network, which is heard in the order in which it was spoken to. (ThreadSanitizer itself takes a write to any socket to come
/// before each later read from any.)
void after_a_read() {
  int shared = 0;
  auto listener = weft::net::tcp_listener::bind("127.0.0.1:0").value();
  auto connect = [&] { return weft::net::tcp_stream::connect(listener.local_endpoint().to_string()).value(); };
  auto read = [](weft::net::tcp_stream& from) {
    char byte[1];
    (void)from.read_some(std::span(byte));
  };
  auto to_first = connect(), to_second = connect();
  auto of_first = listener.accept().value(), of_second = listener.accept().value();
  auto first = weft::spawn([&] {
    read(of_first);
    shared = 1;  // after_a_read: data race
  });
  auto second = weft::spawn([&] {
    read(of_second);
    shared = 2;  // after_a_read: data race
  });
  weft::sleep_for(1ms);  // until they wait
  (void)to_first.write_all("1");
  weft::sleep_for(20ms);
  (void)to_second.write_all("2");
  first.join();
  second.join();
}

void plain_thread() {
  int shared = 0;
  std::thread thread([&] {
    shared = 1;  // plain_thread: data race
    now_the_other();
  });
  let_the_other();
  shared = 2;  // plain_thread: data race
  weft::blocking([&] { thread.join(); });
}

/// The send orders what came before it, and no more.
void after_the_send() {
  auto given = weft::make_chan<std::shared_ptr<int>>(1);
  auto receiver = weft::spawn([&] {
    auto const taken = *given.recv();
    let_the_other();
    return *taken;  // after_the_send: data race
  });
  auto const kept = std::make_shared<int>(1);
  given.send(kept);
  *kept = 2;  // after_the_send: data race
  now_the_other();
  (void)receiver.join();
}

void one_side_locks() {
  weft::mutex mutex;
  int shared = 0;
  auto locks = weft::spawn([&] {
    {
      std::scoped_lock const hold(mutex);
      shared += 1;  // one_side_locks: data race
    }
    now_the_other();
  });
  auto does_not = weft::spawn([&] {
    let_the_other();
    shared += 1;  // one_side_locks: data race
  });
  locks.join();
  does_not.join();
}

struct scenario {
  void (*body)();
  unsigned workers;
};
std::map<std::string, scenario> const scenarios{
    {"two_workers", {two_workers, 2}},
    {"one_worker", {one_worker, 1}},
    {"after_a_receive", {after_a_receive, 1}},
    {"after_a_sleep", {after_a_sleep, 1}},
    {"after_a_read", {after_a_read, 1}},
    {"plain_thread", {plain_thread, 1}},
    {"after_sends_elsewhere", {after_sends_elsewhere, 1}},
    {"after_the_send", {after_the_send, 2}},
    {"one_side_locks", {one_side_locks, 2}},
};

}  // namespace

int main(int argc, char** argv) {
  auto const chosen = scenarios.find(argc == 2 ? argv[1] : "");
  if (chosen == scenarios.end()) {
    for (auto const& [name, _] : scenarios) std::puts(name.c_str());
    return 2;
  }
  weft::run({.workers = chosen->second.workers}, chosen->second.body);
}
