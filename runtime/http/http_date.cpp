#include "runtime/http/http_date.hpp"

#include <charconv>
#include <chrono>
#include <cstring>

namespace weft::rt {

namespace {

constexpr std::string_view weekdays = "SunMonTueWedThuFriSat", months = "JanFebMarAprMayJunJulAugSepOctNovDec";

void put_digits(char* at, unsigned n, int digits) noexcept {
  while (digits-- > 0) {
    at[digits] = static_cast<char>('0' + n % 10);
    n /= 10;
  }
}

/// The number in text[at, at + digits), or -1.
int number_at(std::string_view text, std::size_t at, std::size_t digits) noexcept {
  int n = 0;
  for (char const c : text.substr(at, digits)) {
    if (c < '0' || c > '9') return -1;
    n = 10 * n + (c - '0');
  }
  return n;
}

}  // namespace

void write_http_date(char (&to)[http_date_size], std::int64_t second) noexcept {
  std::chrono::sys_seconds const now{std::chrono::seconds(second)};
  auto const day = std::chrono::floor<std::chrono::days>(now);
  std::chrono::year_month_day const date(day);
  std::chrono::hh_mm_ss const time(now - day);
  std::memcpy(to, "Sun, 00 Jan 0000 00:00:00 GMT", sizeof to);
  std::memcpy(to, weekdays.data() + 3 * std::chrono::weekday(day).c_encoding(), 3);
  put_digits(to + 5, static_cast<unsigned>(date.day()), 2);
  std::memcpy(to + 8, months.data() + 3 * (static_cast<unsigned>(date.month()) - 1), 3);
  put_digits(to + 12, static_cast<unsigned>(static_cast<int>(date.year())), 4);
  put_digits(to + 17, static_cast<unsigned>(time.hours().count()), 2);
  put_digits(to + 20, static_cast<unsigned>(time.minutes().count()), 2);
  put_digits(to + 23, static_cast<unsigned>(time.seconds().count()), 2);
}

std::optional<std::int64_t> read_http_date(std::string_view text) noexcept {
  if (text.size() != http_date_size || !text.ends_with(" GMT")) return std::nullopt;
  auto const month = months.find(text.substr(8, 3));
  int const day = number_at(text, 5, 2), year = number_at(text, 12, 4);
  int const hour = number_at(text, 17, 2), minute = number_at(text, 20, 2), second = number_at(text, 23, 2);
  if (month == months.npos || month % 3 != 0 || day < 1 || year < 0) return std::nullopt;
  if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60) return std::nullopt;
  std::chrono::year_month_day const date{std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month / 3 + 1)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok()) return std::nullopt;
  auto const since = std::chrono::sys_days(date).time_since_epoch();
  std::int64_t const at =
      std::chrono::duration_cast<std::chrono::seconds>(since).count() + hour * 3600 + minute * 60 + second;
  // Weekday, blanks and colons: by writing it again (a leap second apart, which is nobody's time of a file).
  char again[http_date_size];
  write_http_date(again, at);
  return text == std::string_view(again, sizeof again) ? std::optional(at) : std::nullopt;
}

}  // namespace weft::rt
