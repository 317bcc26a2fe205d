#include "answers.hpp"

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>

#include <sys/socket.h>

namespace cache {

bool answers::send(std::string& out) {
  if (queued_) queued_ = queue_.lock()->writing;
  std::size_t sent = 0;
  if (!queued_ && !out.empty()) {
    // Not write_all: it would wait, and who waits cannot read.
    ssize_t const n = ::send(stream_.native_handle(), out.data(), out.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) return false;
    sent = static_cast<std::size_t>(std::max<ssize_t>(n, 0));
  }
  if (sent == out.size()) return true;
  bool begins = false;
  {
    auto const q = queue_.lock();
    if (q->broken) return false;
    if (q->bytes.empty()) q->bytes = std::exchange(out, {}), q->skip = sent;
    else q->bytes.append(out);
    begins = !std::exchange(q->writing, true);
  }
  queued_ = true;
  if (!begins) return true;
  if (!writer_) writer_.emplace();
  writer_->spawn({.name = "writer"}, [this] { write(); });
  return true;
}

void answers::write() {
  for (;;) {
    std::string taken;
    std::size_t skip = 0;
    {
      auto const q = queue_.lock();
      if (std::exchange(q->awaited, false)) stream_.set_read_deadline(weft::now());
      if (q->bytes.empty()) {
        q->writing = false;
        return;
      }
      taken = std::exchange(q->bytes, {});
      skip = std::exchange(q->skip, 0);
    }
    if (stream_.write_all(std::string_view(taken).substr(skip))) continue;
    queue_.lock()->broken = true;  // and still `writing`: nothing is sent past it
    stream_.close();
    return;
  }
}

bool answers::full() {
  if (!queued_) return false;
  auto const q = queue_.lock();
  q->awaited = !q->broken && q->bytes.size() >= most;
  return q->awaited;
}

void answers::wait() {
  if (writer_) writer_->wait();
}

}  // namespace cache
