// "WEFTKV1\n", records, an end. Numbers are little-endian.
//
//   record  1  u32 key's size  u32 value's size  i64 expires  key  value
//   end     0  u64 records  u32 CRC-32 of all before it
#include "snapshot.hpp"

#include <boost/crc.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <stdexcept>
#include <vector>

namespace cache {

namespace {

static_assert(std::endian::native == std::endian::little, "written as it lies in memory");

constexpr std::string_view magic = "WEFTKV1\n";

template <class N>
void put(std::string& out, N n) {
  char bytes[sizeof n];
  std::memcpy(bytes, &n, sizeof n);
  out.append(bytes, sizeof n);
}

[[noreturn]] void damaged(char const* what) { throw std::runtime_error(std::string("damaged snapshot: ") + what); }

class binary_reader {
 public:
  explicit binary_reader(std::FILE* in) : in_(in) {}
  void bytes(char* to, std::size_t n) {
    if (std::fread(to, 1, n, in_) != n) damaged("it ends too early");
  }
  template <class N>
  N number() {
    N n{};
    bytes(reinterpret_cast<char*>(&n), sizeof n);
    return n;
  }

 private:
  std::FILE* in_;
};

class binary_format final : public snapshot_format {
  void begin(std::string& out) override { out += magic; }
  void add(std::string& out, saved_entry const& e) override {
    put(out, std::uint8_t{1});
    put(out, static_cast<std::uint32_t>(e.key.size()));
    put(out, static_cast<std::uint32_t>(e.value.size()));
    put(out, e.expires);
    out.append(e.key).append(e.value);
    ++records_;
  }
  void end(std::string& out) override {
    put(out, std::uint8_t{0});
    put(out, records_);
    written(out);
    put(out, static_cast<std::uint32_t>(sum_.checksum()));
  }
  void written(std::string_view text) override { sum_.process_bytes(text.data(), text.size()); }

  // The checksum first, in a pass of its own: nothing is taken from a file that is not whole.
  void load(std::FILE* in, std::function<void(saved_entry const&)> const& f) override {
    verify(in);
    std::fseek(in, static_cast<long>(magic.size()), SEEK_SET);
    binary_reader r(in);
    std::vector<char> text;
    std::uint64_t records = 0;
    while (r.number<std::uint8_t>() == 1) {
      auto const key = r.number<std::uint32_t>(), value = r.number<std::uint32_t>();
      auto const expires = r.number<time_ms>();
      text.resize(std::size_t{key} + value);
      r.bytes(text.data(), text.size());
      f({{text.data(), key}, {text.data() + key, value}, expires});
      ++records;
    }
    if (r.number<std::uint64_t>() != records) damaged("it has another number of records than it says");
  }

  static void verify(std::FILE* in) {
    constexpr std::size_t sum_size = sizeof(std::uint32_t);
    std::fseek(in, 0, SEEK_END);
    long const size = std::ftell(in);
    std::rewind(in);
    binary_reader r(in);
    std::array<char, 64 * 1024> text;
    if (size < static_cast<long>(magic.size() + 9 + sum_size)) damaged("it ends too early");
    boost::crc_32_type sum;
    auto left = static_cast<std::size_t>(size) - sum_size;
    for (bool first = true; left != 0; first = false) {
      std::size_t const n = std::min(left, text.size());
      r.bytes(text.data(), n);
      if (first && !std::string_view(text.data(), n).starts_with(magic)) damaged("it is not one of this program's");
      sum.process_bytes(text.data(), n);
      left -= n;
    }
    if (r.number<std::uint32_t>() != sum.checksum()) damaged("its checksum is wrong");
  }

  boost::crc_32_type sum_;
  std::uint64_t records_ = 0;
};

}  // namespace

std::unique_ptr<snapshot_format> make_binary_format() { return std::make_unique<binary_format>(); }

}  // namespace cache
