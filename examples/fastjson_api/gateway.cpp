#include "gateway.hpp"

#include "item.hpp"

#include <boost/json.hpp>

#include <charconv>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace api {

namespace http = weft::http;

namespace {

http::response failure(int status, std::string_view what) { return http::json(status, {{"error", what}}); }

http::response json_text(int status, std::string text) {
  return http::response(status, std::move(text)).header("Content-Type", "application/json");
}

/// Asks the cache; an answer in `answer`, which is text or null, or a number as `expected` says, or the response that says why there is none.
std::optional<http::response> ask(gateway& g, std::initializer_list<std::string_view> command, cache_answer& answer,
                                  cache_answer::kind expected = cache_answer::text) {
  auto r = with_retries(g.retries, [&] { return g.cache.call(command); });
  if (!r) {
    g.log.write("error", "cache", {{"command", *command.begin()}, {"error", r.error().message()}});
    if (r.error() == std::errc::timed_out) return failure(504, "the cache does not answer in time");
    bool const answered = r.error() == std::errc::bad_message || r.error() == std::errc::message_size;
    return failure(502, answered ? "the cache's answer is not understood" : "the cache cannot be reached");
  }
  if (r->is == cache_answer::error) {
    g.log.write("error", "cache", {{"command", *command.begin()}, {"error", r->value}});
    return failure(r->value.starts_with("OOM ") ? 507 : 502, "the cache refuses it: " + r->value);
  }
  if ((r->is == cache_answer::number) != (expected == cache_answer::number)) {
    g.log.write("error", "cache", {{"command", *command.begin()}, {"error", "another kind of answer"}});
    return failure(502, "the cache answers something else");
  }
  answer = std::move(*r);
  return std::nullopt;
}

/// The time to live that ?ttl= asks for: empty if none; nullopt if it is not one.
std::optional<std::string> ttl_of(http::request const& q) {
  auto const text = q.query("ttl");
  if (!text) return "";
  unsigned n = 0;
  auto const [end, failed] = std::from_chars(text->data(), text->data() + text->size(), n);
  if (failed != std::errc() || end != text->data() + text->size() || n < 1 || n > 31'536'000) return std::nullopt;
  return std::to_string(n);
}

http::response put_item(gateway& g, http::request& q) {
  std::string_view const id = q.param("id");
  if (!is_id(id)) return failure(400, "an id has letters, digits, '-' and '_', 64 at most");
  auto const ttl = ttl_of(q);
  if (!ttl) return failure(422, "ttl is a number of seconds from 1 to 31536000");
  auto item = checked_item(id, q.body_view());
  if (!item) {
    if (item.error().fields.empty()) return failure(item.error().status, item.error().error);
    boost::json::object fields;
    for (auto const& [name, why] : item.error().fields) fields[name] = why;
    return http::json(item.error().status, {{"error", item.error().error}, {"fields", boost::json::value(fields)}});
  }
  std::string const key = "item:" + std::string(id);
  cache_answer old{};
  auto failed =
      ttl->empty() ? ask(g, {"SET", key, *item, "GET"}, old) : ask(g, {"SET", key, *item, "EX", *ttl, "GET"}, old);
  if (failed) return std::move(*failed);
  return json_text(old.is == cache_answer::null ? 201 : 200, std::move(*item));
}

http::response get_item(gateway& g, http::request& q) {
  cache_answer found{};
  if (auto failed = ask(g, {"GET", "item:" + std::string(q.param("id"))}, found)) return std::move(*failed);
  if (found.is == cache_answer::null) return failure(404, "no such item");
  if (!is_json(found.value)) {
    g.log.write("error", "cache", {{"command", "GET"}, {"error", "an item that is not JSON"}});
    return failure(502, "what the cache has is no item");
  }
  return json_text(200, std::move(found.value));
}

http::response delete_item(gateway& g, http::request& q) {
  cache_answer n{};
  if (auto failed = ask(g, {"DEL", "item:" + std::string(q.param("id"))}, n, cache_answer::number))
    return std::move(*failed);
  return n.n == 0 ? failure(404, "no such item") : http::response(204);
}

http::response health(gateway& g) {
  cache_answer pong{};
  if (auto failed = ask(g, {"PING"}, pong)) return std::move(*failed);
  return http::json({{"status", "ok"}, {"idle_connections", g.cache.idle()}});
}

/// Where no route answers, the router does, in plain text.
http::response as_json(http::response r) {
  if (r.header("Content-Type") == "application/json" || r.body_view().empty()) return r;
  std::string_view const text = r.body_view();
  auto out = failure(r.status(), text.substr(0, text.find('\n')));
  if (auto const allow = r.header("Allow")) out.header("Allow", *allow);
  return out;
}

/// A line for each request, with the id that the client gave it or the next number, which goes back to the client.
http::handler logged(gateway& g, http::handler next) {
  return [&g, next = std::move(next)](http::request& q) {
    auto const began = weft::now();
    std::uint64_t const number = g.requests.fetch_add(1, std::memory_order_relaxed) + 1;
    std::string const id(q.header("X-Request-Id").value_or(std::to_string(number)));
    auto const say = [&](int status) {
      if (!g.log_requests) return;
      double const ms = std::chrono::duration<double, std::milli>(weft::now() - began).count();
      g.log.write(status >= 500 ? "error" : "info", "request",
                  {{"id", id}, {"method", q.method()}, {"target", q.target()}, {"status", status}, {"ms", ms}});
    };
    try {
      http::response r = as_json(next(q));
      say(r.status());
      return std::move(r).header("X-Request-Id", id);
    } catch (weft::cancelled const&) {
      say(499);  // the client has gone, or the request took too long
      throw;
    }
  };
}

http::handler limited(gateway& g, http::handler next) {
  return [&g, next = std::move(next)](http::request& q) {
    if (!g.limit.try_take()) return failure(429, "too many requests").header("Retry-After", "1");
    return next(q);
  };
}

}  // namespace

http::router routes(gateway& g) {
  http::router r;
  r.use([&g](http::handler next) { return logged(g, std::move(next)); });
  http::router& items = r.group("/items", [&g](http::handler next) { return limited(g, std::move(next)); });
  items.post("/{id}", [&g](http::request& q) { return put_item(g, q); });
  items.get("/{id}", [&g](http::request& q) { return get_item(g, q); });
  items.handle("DELETE", "/{id}", [&g](http::request& q) { return delete_item(g, q); });
  r.get("/health", [&g] { return health(g); });
  return r;
}

}  // namespace api
