// SPDX-License-Identifier: LGPL-2.1-or-later
#include "domain/wish.h"

#include <charconv>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/nearest.h"

namespace heca::domain {
namespace {

constexpr std::pair<std::string_view, MigrationMode> kModes[] = {{"post-copy", MigrationMode::kPostCopy},
                                                                 {"hybrid", MigrationMode::kHybrid},
                                                                 {"pre-copy", MigrationMode::kPreCopy}};

template <class Words, class Value>
Status SetWord(const Words& words, std::string_view name, std::string_view text, std::optional<Value>& to) {
  std::vector<std::string_view> known;
  for (const auto& [word, value] : words) {
    if (word == text) {
      to = value;
      return Status();
    }
    known.push_back(word);
  }
  return {ErrorCode::kInvalidArgument, fmt::format("{}: '{}' is not {}", name, text, fmt::join(known, ", "))};
}

Status SetReplicas(std::string_view text, std::optional<std::uint32_t>& to) {
  std::uint32_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc() || end != text.data() + text.size() || count < 1 || count > kMaxReplicas) {
    return {ErrorCode::kInvalidArgument,
            fmt::format("replicas: '{}' is not a whole number from 1 to {}", text, kMaxReplicas)};
  }
  to = count;
  return Status();
}

}  // namespace

std::string_view ToString(MigrationMode mode) {
  for (const auto& [word, known] : kModes) {
    if (known == mode) return word;
  }
  return "";
}

Status SetWish(MemoryWish& wish, std::string_view name, std::string_view value) {
  if (name == "ratio") {
    auto ratio = ParseRatio(value);
    if (!ratio.ok()) return ratio.status().WithContext(name);
    wish.ratio = *ratio;
    return Status();
  }
  if (name == "local") {
    auto local = ParseSize(value);
    if (!local.ok()) return local.status().WithContext(name);
    if (local->value() == 0) return {ErrorCode::kInvalidArgument, "local: some memory has to stay here; 0 was given"};
    wish.local = *local;
    return Status();
  }
  if (name == "replicas") return SetReplicas(value, wish.replicas);
  if (name == "migration") return SetWord(kModes, name, value, wish.migration);
  if (name == "transport") return SetWord(kTransportChoices, name, value, wish.transport);
  const std::vector<std::string_view> known = {"ratio", "local", "replicas", "migration", "transport"};
  const std::string_view nearest = Nearest(name, known);
  return {ErrorCode::kInvalidArgument,
          fmt::format("unknown attribute '{}'{}; known are {}", name,
                      nearest.empty() ? "" : fmt::format(", did you mean '{}'?", nearest), fmt::join(known, ", "))};
}

Status CheckWish(const MemoryWish& wish) {
  if (!wish.ratio || !wish.local) return Status();
  return {ErrorCode::kInvalidArgument, fmt::format("ratio {}:{} and local {} exclude each other: give one of them",
                                                   wish.ratio->local, wish.ratio->remote,
                                                   FormatSizeExact(*wish.local))};
}

MemoryWish Merge(const MemoryWish& older, const MemoryWish& newer) {
  MemoryWish merged = newer;
  if (!newer.ratio && !newer.local) {
    merged.ratio = older.ratio;
    merged.local = older.local;
  }
  if (!newer.replicas) merged.replicas = older.replicas;
  if (!newer.migration) merged.migration = older.migration;
  if (!newer.transport) merged.transport = older.transport;
  return merged;
}

}  // namespace heca::domain
