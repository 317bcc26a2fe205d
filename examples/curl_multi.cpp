// A C library's non-blocking interface driven by tasks: libcurl's multi interface, on wait_readable and wait_writable.
// libcurl says which descriptors it waits for and until when; it never blocks itself. Each wait becomes a small task that
// ends with one message, and one task calls libcurl: with what was ready, or because its time has come.
#include <curl/curl.h>
#include <iostream>
#include <map>
#include <string>
#include <weft/http.hpp>
#include <weft/weft.hpp>
#include "support/interruptible.hpp"

using namespace std::chrono_literals;
class transfers {
 public:
  transfers() {
    curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
    curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &transfers::on_socket);
    curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
    curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &transfers::on_timer);
  }
  ~transfers() { curl_multi_cleanup(multi_); }
  void get(std::string const& url) {
    CURL* const easy = curl_easy_init();
    curl_easy_setopt(easy, CURLOPT_URL, url.c_str());
    curl_multi_add_handle(multi_, easy);
  }
  /// Parks until every transfer has ended; how many went well.
  int run() {
    int running = 1, good = 0, left = 0;
    auto const act = [&](curl_socket_t fd, int what) { curl_multi_socket_action(multi_, fd, what, &running); };
    while (running != 0) {
      weft::select(weft::on_recv(ready_, [&](wait w) { waits_.erase(w), act(w.first, w.second), watch(w.first); }),
                   weft::on_deadline(due_, [&] { due_ = weft::time_point::max(), act(CURL_SOCKET_TIMEOUT, 0); }));
      while (CURLMsg const* m = curl_multi_info_read(multi_, &left)) {
        good += m->data.result == CURLE_OK;
        CURL* const easy = m->easy_handle;
        curl_multi_remove_handle(multi_, easy), curl_easy_cleanup(easy);
      }
    }
    return good;
  }

 private:
  using wait = std::pair<curl_socket_t, int>;  // CURL_POLL_IN or CURL_POLL_OUT, which are CURL_CSELECT_IN and _OUT too
  void watch(curl_socket_t fd) noexcept {
    for (int direction : {CURL_POLL_IN, CURL_POLL_OUT}) {
      wait const w(fd, direction);
      if ((wanted_[fd] & direction) == 0) waits_.erase(w);  // stops the task, if there is one
      else if (!waits_.contains(w))
        waits_[w] = weft::spawn([this, w] {
          (void)(w.second == CURL_POLL_IN ? weft::net::wait_readable(w.first) : weft::net::wait_writable(w.first));
          ready_.send(w);  // libcurl finds out about errors itself
        });
    }
  }
  static int on_socket(CURL*, curl_socket_t fd, int what, void* self, void*) noexcept {
    static_cast<transfers*>(self)->wanted_[fd] = what & CURL_POLL_INOUT;  // CURL_POLL_REMOVE: none
    return static_cast<transfers*>(self)->watch(fd), 0;
  }
  static int on_timer(CURLM*, long ms, void* self) noexcept {
    return static_cast<transfers*>(self)->due_ = ms < 0 ? weft::time_point::max() : weft::now() + ms * 1ms, 0;
  }
  CURLM* multi_ = curl_multi_init();
  weft::time_point due_ = weft::time_point::max();
  std::map<curl_socket_t, int> wanted_;
  weft::chan<wait> ready_ = weft::make_chan<wait>();
  std::map<wait, weft::join_handle<void>> waits_;
};

static void run() {
  weft::http::router routes;
  routes.get("/{n}", [](auto& q) { return weft::sleep_for(50ms), std::string(q.param("n")) + "\n"; });
  weft::http::server server(routes);
  std::string const url = "http://" + server.listen("127.0.0.1:0").value().to_string() + "/";
  auto const serving = weft::spawn([&] { server.serve(); });  // cancelled at the end of the block
  transfers all;
  for (int i = 0; i < 20; ++i) all.get(url + std::to_string(i));
  std::cout << all.run() << " of 20 came\n";
}
int main() { return examples::interruptible(run); }
