// Bugs with channels, time, and the lives of tasks.
#include <memory>
#include <mutex>

#include "tests/sim/bugs/planted.hpp"

using namespace std::chrono_literals;

TEST_CASE("explore finds a send to a channel that another has closed") {
  is_found([] {
    auto c = weft::make_chan<int>(4);
    auto h = weft::spawn([c] {
      if (!c.closed()) c.send(1);
    });
    c.close();
    h.join();
  });
}

TEST_CASE("explore finds a double close") {
  is_found([] {
    auto c = weft::make_chan<int>();
    auto const close = [c] {
      if (c.closed()) return;
      must(c.close(), "closed twice");
    };
    auto a = weft::spawn(close);
    auto b = weft::spawn(close);
    a.join();
    b.join();
  });
}

TEST_CASE("explore finds a value that is sent before it is complete") {
  is_found([] {
    auto c = weft::make_chan<std::shared_ptr<int>>(1);
    auto h = weft::spawn([c] {
      auto const got = *c.recv();
      must(*got == 7, "incomplete");
    });
    auto v = std::make_shared<int>(0);
    c.send(v);
    *v = 7;
    h.join();
  });
}

TEST_CASE("explore finds a time-out that races with its answer") {
  is_found([] {
    auto answers = weft::make_chan<int>(1);
    bool given_up = false, used = false;
    weft::go([answers] {
      weft::sleep_for(10ms);
      answers.send(1);
    });
    weft::select(weft::on_recv(answers, [&](int) { used = true; }), weft::on_timeout(10ms, [&] { given_up = true; }));
    weft::sleep_for(1ms);
    must(!(given_up && answers.try_recv().has_value()), "the answer came, and nobody took it");
    must(used || given_up, "neither");
  });
}

TEST_CASE("explore finds a select whose default is taken for emptiness") {
  is_found([] {
    auto jobs = weft::make_chan<int>();
    int done = 0;
    auto worker = weft::spawn([&, jobs] {
      bool more = true;
      while (more) weft::select(weft::on_recv(jobs, [&](int) { ++done; }), weft::otherwise([&] { more = false; }));
    });
    for (int i = 0; i < 2; ++i) (void)jobs.send_for(i, 1ms);
    worker.join();
    must(done == 2, "the worker left too early");
  });
}

TEST_CASE("explore finds a wait_group that is counted up in the task") {
  is_found([] {
    struct shared {
      weft::wait_group all;
      int done = 0;
    };
    auto const s = std::make_shared<shared>();
    for (int i = 0; i < 2; ++i)
      weft::go([s] {
        s->all.add();
        ++s->done;
        s->all.done();
      });
    s->all.wait();
    must(s->done == 2, "waited for too few");
  });
}

TEST_CASE("explore finds a task that leaks when its reader gives up") {
  is_found([] {
    auto const ask = [] {
      auto answer = weft::make_chan<int>();  // without room for an answer that comes too late
      weft::go([answer] {
        weft::sleep_for(5ms);
        answer.send(1);
      });
      (void)answer.recv_for(5ms);
    };
    ask();
    weft::sim::wait_idle();
    must(weft::current_metrics().live == 1, "a task was left behind");
  });
}

TEST_CASE("explore finds a barrier of its own make that is used again too early") {
  is_found([] {
    struct gate {
      weft::mutex m;
      weft::condition_variable c;
      int there = 0;
      void arrive_and_wait() {
        std::unique_lock lock(m);
        if (++there == 2) c.notify_all();
        c.wait(lock, [&] { return there >= 2; });
        if (--there == 0) c.notify_all();
      }
    } g;
    int phase[2] = {0, 0};
    auto const go_round = [&](int me) {
      for (int i = 0; i < 2; ++i) {
        ++phase[me];
        g.arrive_and_wait();
        int const apart = phase[me] - phase[1 - me];
        must(apart <= 0, "overtaken");
      }
    };
    auto other = weft::spawn([&] { go_round(1); });
    go_round(0);
    other.join();
  });
}

TEST_CASE("explore finds a cache that keeps what was cancelled half way") {
  is_found([] {
    weft::mutex m;
    int loaded = 0;
    bool valid = false;
    auto loader = weft::spawn([&] {
      {
        std::lock_guard const hold(m);
        valid = true;
      }
      for (int i = 0; i < 3; ++i) {
        weft::sleep_for(1ms);
        ++loaded;
      }
    });
    weft::sleep_for(2ms);
    loader.stop();
    std::lock_guard const hold(m);
    must(!valid || loaded == 3, "half of it is kept as valid");
  });
}

TEST_CASE("explore finds a timer that has fired when it is stopped") {
  is_found([] {
    auto const fired = std::make_shared<bool>(false);
    auto stop = weft::after_func(5ms, [fired] { *fired = true; });
    auto work = weft::spawn([] { weft::sleep_for(5ms); });
    work.join();
    (void)stop();
    must(!*fired, "fired though the work was in time");
  });
}

TEST_CASE("explore finds a service that one client starves") {
  is_found([] {
    auto greedy = weft::make_chan<int>(4), modest = weft::make_chan<int>(1);
    for (int i = 0; i < 4; ++i) greedy.send(i);
    modest.send(1);
    int before = 0;
    bool served = false;
    while (!served)
      weft::select(weft::on_recv(greedy, [&](int) { ++before; }), weft::on_recv(modest, [&](int) { served = true; }));
    must(before < 4, "all of the greedy one's were served first");
  });
}

TEST_CASE("explore finds a result that is read before it is written") {
  is_found([] {
    int result = 0;
    auto ready = weft::make_chan<weft::unit>(1);
    auto h = weft::spawn([&] {
      ready.send({});
      result = 5;
    });
    ready.recv();
    must(result == 5, "read too early");
    h.join();
  });
}
