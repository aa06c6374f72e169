// SPDX-License-Identifier: LGPL-2.1-or-later
#include "base/size.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <limits>
#include <optional>

namespace heca {
namespace {

constexpr std::array<std::string_view, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
constexpr std::string_view kForms = "write it like 2GiB, 512MiB, 64M or 4096 (bytes)";

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

/// The power of 1024 that a unit stands for.
std::optional<unsigned> UnitPower(std::string_view unit) {
  const std::string lower = Lower(unit);
  if (lower.empty()) return 0;
  for (unsigned power = 0; power < kUnits.size(); ++power) {
    const std::string name = Lower(kUnits[power]);
    if (lower == name || (power > 0 && lower == name.substr(0, 1))) return power;
  }
  return std::nullopt;
}

Status NotASize(std::string_view text, std::string_view why) {
  return {ErrorCode::kInvalidArgument, fmt::format("'{}' is not a size{}: {}", text, why, kForms)};
}

std::optional<std::uint32_t> ParsePart(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 1 || value > 1000)
    return std::nullopt;
  return value;
}

}  // namespace

Result<Bytes> ParseSize(std::string_view text) {
  const std::size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
  const std::string_view number = text.substr(0, digits);
  std::string_view unit = text.substr(digits);
  while (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
  const std::size_t point = number.find('.');
  const std::string_view whole = number.substr(0, point);
  const std::string_view fraction = point == std::string_view::npos ? "" : number.substr(point + 1);
  if (whole.empty() || (point != std::string_view::npos && fraction.empty()) ||
      fraction.find('.') != std::string_view::npos) {
    return NotASize(text, "");
  }
  const std::optional<unsigned> power = UnitPower(unit);
  if (!power) {
    const std::string lower = Lower(unit);
    if (lower.size() == 2 && lower[1] == 'b' && UnitPower(lower.substr(0, 1))) {
      return NotASize(text, fmt::format(" ({} is 1000 for some and 1024 for others)", unit));
    }
    return NotASize(text, fmt::format(" (unknown unit '{}')", unit));
  }

  // value = digits / 10^decimals * 1024^power, in whole bytes.
  unsigned __int128 value = 0;
  unsigned __int128 divisor = 1;
  for (const char c : whole) {
    value = value * 10 + static_cast<unsigned>(c - '0');
    if (value > std::numeric_limits<std::uint64_t>::max()) return NotASize(text, " (too large)");
  }
  if (fraction.size() > 6) return NotASize(text, " (more than six decimals)");
  for (const char c : fraction) {
    value = value * 10 + static_cast<unsigned>(c - '0');
    divisor *= 10;
  }
  value <<= 10 * *power;
  if (value % divisor != 0) return NotASize(text, " (not a whole number of bytes)");
  value /= divisor;
  if (value > std::numeric_limits<std::uint64_t>::max()) return NotASize(text, " (too large)");
  return Bytes(static_cast<std::uint64_t>(value));
}

std::string FormatSize(Bytes size) {
  std::size_t power = 0;
  // 1023.95 and more would print as 1024.0: take the next unit instead.
  const auto in_unit = [&] {
    return static_cast<double>(size.value()) / static_cast<double>(1ULL << (10 * power));
  };
  while (power + 1 < kUnits.size() && in_unit() >= 1023.95) ++power;
  std::string number = fmt::format("{:.1f}", in_unit());
  if (number.ends_with(".0")) number.resize(number.size() - 2);
  return number + std::string(kUnits[power]);
}

std::string FormatSizeExact(Bytes size) {
  std::uint64_t value = size.value();
  std::size_t power = 0;
  while (value != 0 && value % 1024 == 0 && power + 1 < kUnits.size()) {
    value /= 1024;
    ++power;
  }
  return power == 0 ? fmt::format("{}", value) : fmt::format("{}{}", value, kUnits[power]);
}

Result<Ratio> ParseRatio(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon != std::string_view::npos) {
    const auto local = ParsePart(text.substr(0, colon));
    const auto remote = ParsePart(text.substr(colon + 1));
    if (local && remote) return Ratio{*local, *remote};
  }
  return Status(
      ErrorCode::kInvalidArgument,
      fmt::format("'{}' is not a ratio: write it like 1:3 (local:remote, whole numbers from 1 to 1000)",
                  text));
}

Bytes LocalPart(Ratio ratio, Bytes total, Bytes unit) {
  const unsigned __int128 parts = static_cast<unsigned __int128>(ratio.local) + ratio.remote;
  const unsigned __int128 exact = static_cast<unsigned __int128>(total.value()) * ratio.local;
  const unsigned __int128 grain = parts * unit.value();
  const auto units = static_cast<std::uint64_t>((exact + grain - 1) / grain);
  return Bytes(std::min(units * unit.value(), total.value()));
}

}  // namespace heca
