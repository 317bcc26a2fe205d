// A stream connection of a simulated run: two sides, and what is under way between them.
//
//   send     F1 into the flow of this side, as much as fits: what is under way and what the peer has not read count
//            F2 a delay is chosen; nothing overtakes: a segment arrives when its delay is over and all before it have arrived
//   arrival  F3 by the flow's timer, or at once without a delay: the bytes are the peer's to read; "end" and "reset" go the same way
//   close    F4 with bytes unread, or bytes that come later: a reset goes to the peer (as Linux does); else the end
//            F5 from then on who writes to a unix stream is told at once; TCP answers what arrives with a reset
//   loss     L1 reset: both sides learn of it at once, what is under way is lost, what has arrived can still be read
//            L2 silence: what is under way and all that follows is lost, and nobody is told. Who has sent gives up by timed_out after
//               924.6 s, as Linux does (15 retransmissions); who connects after 127 s; who only reads waits for ever
//
// Of the run's thread alone.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>

#include <sys/uio.h>

#include <weft/net/endpoint.hpp>

#include "runtime/sched/io.hpp"
#include "runtime/sched/simulated.hpp"
#include "runtime/sim/later.hpp"

namespace weft::sim {

/// Tells who waits on the slot; nobody does if it is null.
void report(rt::io_slot* slot, rt::poll_event const& what) noexcept;

/// What loses connections, datagrams and time. Those of a unix socket lose nothing.
class weather {
 public:
  explicit weather(rt::chooser& by) noexcept : by_(by) {}

  [[nodiscard]] std::int64_t delay() noexcept;                // ns
  [[nodiscard]] std::size_t part_of(std::size_t n) noexcept;  // of n > 0: at least 1
  [[nodiscard]] std::uint32_t loss() noexcept { return by_.choose_rarely(rt::choice::loss, 3); }

 private:
  rt::chooser& by_;
};

class connection : public std::enable_shared_from_this<connection> {
 public:
  enum class side : std::uint8_t { client, server };

  /// What a connection asks of the network: to bring it to the listener that it is for, or refuse() it.
  class destination {
   public:
    virtual void arrived(std::shared_ptr<connection> who) noexcept = 0;

   protected:
    ~destination() = default;
  };

  connection(weather& w, destination& to, bool local) noexcept;

  std::array<net::endpoint, 2> names;  // client's, server's

  /// The client's opening request goes out. 0: it has been answered; -EINPROGRESS; -errno.
  int open() noexcept;
  void establish() noexcept;
  /// Not yet: the client waits, for as long as it has patience with silence.
  void unanswered() noexcept { client_.out.give_up_later(message::opening); }
  void refuse(int error) noexcept;
  [[nodiscard]] bool is_given_up() const noexcept { return client_.closed || client_.broken; }

  [[nodiscard]] std::ptrdiff_t send(side s, iovec const* parts, std::size_t n) noexcept;
  [[nodiscard]] std::ptrdiff_t recv(side s, void* to, std::size_t n) noexcept;
  int shut_write(side s) noexcept;
  void shut_read(side s) noexcept;
  void close(side s, bool by_reset) noexcept;
  /// Broken, or ended by both sides: Linux knows no connection any more.
  [[nodiscard]] bool is_over(side s) const noexcept {
    return !local_ && (of(s).broken || (client_.end_came && server_.end_came));
  }
  [[nodiscard]] int take_error(side s) noexcept;  // SO_ERROR as -errno, or 0
  [[nodiscard]] short events(side s) const noexcept;
  [[nodiscard]] std::uint64_t delivered(side s) const noexcept { return of(s).delivered; }
  void attach(side s, rt::io_slot* slot) noexcept { of(s).slot = slot; }

 private:
  enum class message : std::uint8_t { opening, data, end, reset };
  struct segment {
    std::int64_t arrives;
    message what;
    std::string bytes;
  };

  /// From one side to the other.
  class flow final : public later {
   public:
    flow(connection& c, side from) noexcept : of_(c), from_(from) {}
    void post(message what, std::string bytes) noexcept;
    void fall_silent() noexcept;
    void drop() noexcept;
    void give_up_later(message what) noexcept;
    [[nodiscard]] std::size_t under_way() const noexcept { return bytes_; }

   private:
    void happens() noexcept override;
    std::shared_ptr<void> owner() noexcept override { return of_.shared_from_this(); }

    connection& of_;
    side const from_;
    std::deque<segment> segments_;
    std::size_t bytes_ = 0;  // sent and not arrived: in segments_, or lost in silence
    std::int64_t last_arrives_ = 0;
    bool gives_up_ = false;  // the timer is the sender's patience with a silent peer
  };

  /// One side's view.
  struct half {
    half(connection& c, side s) noexcept : out(c, s) {}
    flow out;
    std::string received;  // and not read, from `read` on
    std::size_t read = 0;
    std::uint64_t delivered = 0;  // of what it sent
    rt::io_slot* slot = nullptr;
    int error = 0;          // to be told once
    bool ended = false;     // no more is to come: all that the peer sends has come, or this side does not read any more
    bool end_came = false;  // the peer's
    bool shut = false;      // this side sends no more
    bool broken = false;    // by a reset or by giving up
    bool closed = false;
    bool full = false;  // was told that there was no room

    [[nodiscard]] std::size_t unread() const noexcept { return received.size() - read; }
  };

  static side other(side s) noexcept { return s == side::client ? side::server : side::client; }
  half& of(side s) noexcept { return s == side::client ? client_ : server_; }
  half const& of(side s) const noexcept { return s == side::client ? client_ : server_; }
  [[nodiscard]] std::size_t room(side s) const noexcept;

  void deliver(side from, message what, std::string const& bytes) noexcept;
  void break_off(side s, int error) noexcept;
  /// L1, L2. True: the call of side s ends with ECONNRESET.
  bool is_lost(side s) noexcept;

  weather& weather_;
  destination& to_;
  bool const local_;
  bool open_ = false;
  bool silent_ = false;
  half client_, server_;
};

}  // namespace weft::sim
