// TLS by OpenSSL over a weft stream. OpenSSL never touches the socket: it gives and takes bytes, and the task waits for these as for any
// others, so that deadlines, cancellation and simulated runs are what they are without TLS.
#pragma once

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <cstddef>
#include <memory>
#include <string_view>
#include <utility>

#include <weft/net.hpp>

/// One task at a time uses it. std::errc::protocol_error: the other side does not speak TLS, or is not who it should be.
class tls_stream {
 public:
  tls_stream(weft::net::tcp_stream tcp, SSL_CTX* context) : tcp_(std::move(tcp)), ssl_(SSL_new(context), &SSL_free) {
    SSL_set_bio(ssl_.get(), in_, out_);  // which are its own from now on
  }

  weft::result<std::size_t> accept() { return repeat(SSL_accept); }

  /// `name` is what the certificate must say.
  weft::result<std::size_t> connect(char const* name) {
    SSL_set_tlsext_host_name(ssl_.get(), name);
    SSL_set1_host(ssl_.get(), name);
    return repeat(SSL_connect);
  }

  /// 0: the other side has said that no more will come. errc::eof: its connection ended without that, and somebody may have cut it.
  weft::result<std::size_t> read_some(weft::net::mutable_buffer to) {
    return repeat([&](SSL* s) { return SSL_read(s, to.bytes.data(), static_cast<int>(to.bytes.size())); });
  }
  weft::result<std::size_t> write(std::string_view text) {
    return repeat([&](SSL* s) { return SSL_write(s, text.data(), static_cast<int>(text.size())); });
  }
  /// Says that no more will come.
  weft::result<std::size_t> shutdown_write() {
    return repeat([](SSL* s) { return SSL_shutdown(s) < 0 ? -1 : 1; });
  }

 private:
  /// Until OpenSSL has what it needs for the call; how many bytes went through.
  template <class Call>
  weft::result<std::size_t> repeat(Call call) {
    for (;;) {
      ERR_clear_error();  // the list of errors is the thread's, not the task's: nothing waits from here to SSL_get_error
      int const n = call(ssl_.get());
      int const why = SSL_get_error(ssl_.get(), n);
      char* bytes = nullptr;
      if (long const size = BIO_get_mem_data(out_, &bytes); size > 0) {
        auto const sent = tcp_.write_all(std::string_view(bytes, static_cast<std::size_t>(size)));
        BIO_reset(out_);
        if (!sent) return std::unexpected(sent.error());
      }
      if (n > 0) return static_cast<std::size_t>(n);
      if (why == SSL_ERROR_ZERO_RETURN) return 0;
      if (why != SSL_ERROR_WANT_READ) return std::unexpected(std::make_error_code(std::errc::protocol_error));
      char more[4096];
      auto const got = tcp_.read_some(more);
      if (!got) return std::unexpected(got.error());
      if (*got == 0) return std::unexpected(make_error_code(weft::errc::eof));
      BIO_write(in_, more, static_cast<int>(*got));
    }
  }

  weft::net::tcp_stream tcp_;
  BIO* in_ = BIO_new(BIO_s_mem());
  BIO* out_ = BIO_new(BIO_s_mem());
  std::unique_ptr<SSL, void (*)(SSL*)> ssl_;
};
