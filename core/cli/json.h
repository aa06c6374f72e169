// SPDX-License-Identifier: LGPL-2.1-or-later
// NodeApi's values as JSON, for --json. docs/cli.md is the contract of the keys: snake_case, sizes in bytes
// with the suffix _bytes, times as RFC 3339 in UTC, states as the words of ToString. Keys are added, never
// changed. Pure.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "cli/rates.h"
#include "control/migration_types.h"
#include "control/node_types.h"
#include "control/region_stats.h"
#include "control/sponsor_api.h"

namespace heca::cli {

using Json = nlohmann::ordered_json;

[[nodiscard]] Json ToJson(const control::NodeInfo& node);
[[nodiscard]] Json ToJson(const control::PeerInfo& peer);
[[nodiscard]] Json ToJson(const control::RegionInfo& region);
[[nodiscard]] Json ToJson(const control::MigrationSummary& summary);
[[nodiscard]] Json ToJson(const control::MigrationInfo& migration);
[[nodiscard]] Json ToJson(const control::LeaseInfo& lease);
[[nodiscard]] Json ToJson(const control::DoctorCheck& check);
[[nodiscard]] Json ToJson(const control::Event& event);
[[nodiscard]] Json ToJson(const RegionRates& rates);
/// {"error": {...}}
[[nodiscard]] Json ErrorJson(const Status& status, int exit_code);

template <class T>
[[nodiscard]] Json ListToJson(const std::vector<T>& values) {
  Json list = Json::array();
  for (const T& value : values) list.push_back(ToJson(value));
  return list;
}

}  // namespace heca::cli
