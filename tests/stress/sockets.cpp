// Echo servers and clients on loopback, as tasks and plain threads, with resets, closes from elsewhere, half closes, deadlines that move and
// cancelled calls. What comes back is what was sent, in its order; all of it, where nobody has cut the connection.
#include <weft/net.hpp>
#include <weft/weft.hpp>

#include <sys/socket.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/stress/stress.hpp"

namespace weft::stress {
namespace {

char at(std::uint64_t client, std::size_t position) { return static_cast<char>((client * 31 + position) % 251); }

struct world {
  bool calm;  // the servers cut no connection
  std::atomic<std::uint64_t> offered{0}, came_back{0}, handlers{0};
};

void reset(net::stream_base& s) {
  linger const at_once{1, 0};
  ::setsockopt(s.native_handle(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  s.close();
}

/// Beside the caller, as its like: in a task of its own, or a thread.
class aside {
 public:
  template <class F>
  explicit aside(F f) {
    if (this_task::id() != task_id{}) task_ = spawn(std::move(f));
    else thread_ = std::thread(std::move(f));
  }
  aside(aside const&) = delete;
  aside& operator=(aside const&) = delete;
  ~aside() {
    if (thread_.joinable()) thread_.join();
  }
  void wait() {
    if (thread_.joinable()) thread_.join();
    else task_.join();
  }

 private:
  join_handle<void> task_;
  std::thread thread_;
};

void echo(net::stream_base& s, world& in, random mine) {
  std::vector<char> room(mine.between(std::size_t{1}, 5000));
  std::size_t const cut_after = in.calm || mine.one_in(2) ? ~std::size_t{0} : mine.below(20000);
  for (std::size_t total = 0;;) {
    if (mine.one_in(8)) s.set_read_deadline(now() + mine.up_to(500us));
    auto const n = s.read_some(room);
    if (!n && n.error() == std::errc::timed_out) {
      s.set_read_deadline(time_point::max());
      continue;
    }
    if (!n) return;
    if (*n == 0) break;
    in.offered += *n;
    total += *n;
    if (!s.write_all(std::span(room.data(), *n))) return;
    if (total >= cut_after) return mine.one_in(2) ? reset(s) : s.close();
  }
  (void)s.shutdown_write();
  if (mine.one_in(4)) s.close();
}

struct conversation {
  std::uint64_t client;
  std::size_t length;  // bytes to send
  bool in_turns;       // a piece is sent when the last one has come back
  bool cut;            // somebody of this side closes or resets it
};

/// Reads till `most` bytes have come back in all, or the end. True: no error but deadlines and cancellations, which lose nothing.
bool read_back(net::stream_base& s, conversation const& of, world& in, std::size_t& total, std::size_t most,
               random& mine) {
  std::vector<char> room(mine.between(std::size_t{1}, 3000));
  bool good = true, over = false;
  in_pieces(mine, [&] {
    while (!over && total < most) {
      if (mine.one_in(8)) s.set_read_deadline(now() + mine.up_to(300us));
      auto const n = s.read_some(std::span(room.data(), std::min(room.size(), most - total)));
      if (!n && n.error() == std::errc::timed_out) {
        s.set_read_deadline(time_point::max());
        continue;
      }
      good = n.has_value();
      over = !n || *n == 0;
      if (over) return;
      for (std::size_t i = 0; i < *n; ++i)
        check(room[i] == at(of.client, total + i), "another byte came back than was sent");
      total += *n;
      in.came_back += *n;
      count();
    }
  });
  return good;
}

bool write_piece(net::stream_base& s, conversation const& of, std::size_t from, std::size_t length) {
  std::string piece(length, 0);
  for (std::size_t i = 0; i < length; ++i) piece[i] = at(of.client, from + i);
  return s.write_all(piece).has_value();
}

void talk(net::stream_base& s, conversation const& of, world& in, random& mine) {
  std::atomic<bool> over{false};
  random others = mine.branch();
  std::optional<aside> disturbing;
  if (of.cut || mine.one_in(3))
    disturbing.emplace([&s, &over, &of, others]() mutable {
      auto const cut_at = now() + others.up_to(3ms);
      try {
        while (!over && !(of.cut && now() >= cut_at)) {
          s.set_read_deadline(now() + (others.one_in(2) ? 20us : -1s));
          sleep_for(50us);
        }
        if (of.cut) others.one_in(2) ? reset(s) : s.close();
      } catch (cancelled const&) {
      }
    });
  std::size_t total = 0;
  bool good = true;
  if (of.in_turns) {
    for (std::size_t sent = 0; good && sent < of.length;) {
      std::size_t const piece = std::min(of.length - sent, mine.between(std::size_t{1}, 2000));
      good =
          write_piece(s, of, sent, piece) && read_back(s, of, in, total, sent + piece, mine) && total == sent + piece;
      sent += piece;
    }
    if (good) good = s.shutdown_write().has_value();
  } else {
    bool written = true;
    aside writing([&s, &of, &written, piece = mine.between(std::size_t{1}, 2000)] {
      try {
        for (std::size_t sent = 0; written && sent < of.length; sent += piece)
          written = write_piece(s, of, sent, std::min(piece, of.length - sent));
        if (written) written = s.shutdown_write().has_value();
      } catch (cancelled const&) {
        s.close();  // or a plain end of it would wait for the rest
      }
    });
    good = read_back(s, of, in, total, of.length, mine);
    if (!good || total < of.length) s.close();
    writing.wait();
    good = good && written;
  }
  if (good) good = read_back(s, of, in, total, ~std::size_t{0}, mine);  // the other side ends as well
  over = true;
  if (disturbing) disturbing->wait();
  if (in.calm && !of.cut) check(good && total == of.length, "bytes are lost on a connection that nobody has cut");
}

template <class Listener, class Stream>
void converse(round& r, Listener listener, std::string const& address) {
  with_runtime(r, [&](runtime& rt) {
    random& chance = r.chance;
    world in{chance.one_in(2)};
    crew serving(rt, chance);
    if (chance.one_in(2)) {
      serving.task([&, seed = chance.next()] {
        auto const ended = net::serve(listener, [&in, seed](Stream& s) { echo(s, in, random(seed + ++in.handlers)); });
        check(ended.has_value(), "serve ended with an error");
      });
    } else {
      for (auto n = chance.between(1, 3); n > 0; --n)
        serving.task([&, mine = chance.branch()]() mutable {
          task_group handlers;
          in_pieces(mine, [&] {
            for (;;) {
              auto s = listener.accept();
              if (!s) return check(s.error() == errc::closed, "accept failed");
              handlers.spawn([&in, seed = mine.next()](Stream stream) { echo(stream, in, random(seed)); },
                             std::move(*s));
            }
          });
          handlers.wait();
        });
    }
    {
      crew clients(rt, chance);
      for (auto n = chance.between(std::uint64_t{1}, 8); n > 0; --n) {
        conversation const of{n, chance.below(chance.pick({std::size_t{10}, std::size_t{3000}, std::size_t{60000}})),
                              chance.one_in(2), chance.one_in(4)};
        clients.start([&, of, mine = chance.branch()]() mutable {
          std::optional<result<Stream>> s;
          in_pieces(mine, [&] { s.emplace(Stream::connect(address)); });
          if (!*s) return check(!in.calm, "a connection was refused");
          talk(**s, of, in, mine);
        });
      }
      clients.cancel_some(2, 5ms);
      if (!in.calm && chance.one_in(3)) listener.close();
    }
    listener.close();
    serving.wait();
    check(in.came_back <= in.offered, "more bytes came back than were sent back");
  });
}

}  // namespace

void sockets(round& r) {
  if (r.chance.one_in(2)) {
    auto listener = net::tcp_listener::bind("127.0.0.1:0").value();
    auto const address = listener.local_endpoint().to_string();
    converse<net::tcp_listener, net::tcp_stream>(r, std::move(listener), address);
  } else {
    std::string const address = "@weft-stress-" + std::to_string(::getpid()) + '-' + std::to_string(r.chance.next());
    converse<net::unix_listener, net::unix_stream>(r, net::unix_listener::bind(address).value(), address);
  }
}

}  // namespace weft::stress
