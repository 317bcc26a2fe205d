// {"format":"weft-cache","version":1,"entries":[{"key":"k","value":"v","expires":1767225600000}, ...]}, an entry a line.
// Text that is not UTF-8 stands as "key_hex", "value_hex". For people and other programs; it is read as a whole.
#include "snapshot.hpp"

#include <boost/json.hpp>

#include <optional>
#include <stdexcept>

namespace cache {

namespace bj = boost::json;

namespace {

bool is_utf8(std::string_view s) noexcept {
  for (std::size_t i = 0; i < s.size();) {
    auto const c = static_cast<unsigned char>(s[i]);
    std::size_t const more = c < 0x80                 ? 0
                             : c >= 0xc2 && c <= 0xdf ? 1
                             : c >= 0xe0 && c <= 0xef ? 2
                             : c >= 0xf0 && c <= 0xf4 ? 3
                                                      : 4;
    if (more == 4 || i + more >= s.size()) return false;
    for (std::size_t k = 1; k <= more; ++k) {
      if ((static_cast<unsigned char>(s[i + k]) & 0xc0) != 0x80) return false;
    }
    auto const second = more != 0 ? static_cast<unsigned char>(s[i + 1]) : 0;
    // Longer than need be, surrogates, beyond U+10FFFF.
    if ((c == 0xe0 && second < 0xa0) || (c == 0xed && second > 0x9f) || (c == 0xf0 && second < 0x90) ||
        (c == 0xf4 && second > 0x8f))
      return false;
    i += more + 1;
  }
  return true;
}

void text(bj::object& to, std::string_view name, std::string_view s) {
  if (is_utf8(s)) {
    to[bj::string_view(name.data(), name.size())] = bj::string_view(s.data(), s.size());
    return;
  }
  bj::string hex;
  for (unsigned char const c : s) hex += "0123456789abcdef"[c >> 4], hex += "0123456789abcdef"[c & 15];
  to[std::string(name) + "_hex"] = std::move(hex);
}

[[noreturn]] void damaged(std::string const& what) { throw std::runtime_error("damaged snapshot: " + what); }

int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  damaged("a digit that is none");
}

std::string text(bj::object const& from, std::string const& name) {
  if (auto const* const plain = from.if_contains(name); plain != nullptr && plain->is_string())
    return {plain->get_string().data(), plain->get_string().size()};
  auto const* const hex = from.if_contains(name + "_hex");
  if (hex == nullptr || !hex->is_string() || hex->get_string().size() % 2 != 0) damaged("an entry without a " + name);
  std::string out;
  auto const& digits = hex->get_string();
  for (std::size_t i = 0; i < digits.size(); i += 2)
    out += static_cast<char>(digit(digits[i]) * 16 + digit(digits[i + 1]));
  return out;
}

class json_format final : public snapshot_format {
  void begin(std::string& out) override { out += R"({"format":"weft-cache","version":1,"entries":[)"; }
  void add(std::string& out, saved_entry const& e) override {
    bj::object o;
    text(o, "key", e.key);
    text(o, "value", e.value);
    if (e.expires != 0) o["expires"] = e.expires;
    out += first_ ? "\n" : ",\n";
    first_ = false;
    out += bj::serialize(o);
  }
  void end(std::string& out) override { out += "\n]}\n"; }

  void load(std::FILE* in, std::function<void(saved_entry const&)> const& f) override {
    bj::stream_parser parser;
    std::string chunk(64 * 1024, '\0');
    bj::error_code failed;
    while (std::size_t const n = std::fread(chunk.data(), 1, chunk.size(), in)) {
      parser.write(chunk.data(), n, failed);
      if (failed) damaged(failed.message());
    }
    parser.finish(failed);
    if (failed) damaged(failed.message());
    bj::value const all = parser.release();
    auto const* const o = all.if_object();
    auto const* const entries = o != nullptr ? o->if_contains("entries") : nullptr;
    auto const* const version = o != nullptr ? o->if_contains("version") : nullptr;
    auto const* const format = o != nullptr ? o->if_contains("format") : nullptr;
    if (entries == nullptr || !entries->is_array() || version == nullptr || *version != 1 || format == nullptr ||
        *format != "weft-cache")
      damaged("it is not one of this program's");
    struct owned {
      std::string key, value;
      time_ms expires;
    };
    std::vector<owned> good;  // all of them, before the first is taken
    for (bj::value const& v : entries->get_array()) {
      if (!v.is_object()) damaged("an entry is not an object");
      auto const* const expires = v.get_object().if_contains("expires");
      if (expires != nullptr && !expires->is_int64()) damaged("a time that is no whole number");
      // A misspelt "expires" would be a key that stays for ever.
      if (v.get_object().size() != (expires != nullptr ? 3 : 2)) damaged("an entry with a member too many or too few");
      good.push_back(
          {text(v.get_object(), "key"), text(v.get_object(), "value"), expires != nullptr ? expires->get_int64() : 0});
    }
    for (owned const& e : good) f({e.key, e.value, e.expires});
  }

  bool first_ = true;
};

}  // namespace

std::unique_ptr<snapshot_format> make_json_format() { return std::make_unique<json_format>(); }

}  // namespace cache
