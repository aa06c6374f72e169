// SPDX-License-Identifier: LGPL-2.1-or-later
// A lease as the journals keep it.
#pragma once

#include <nlohmann/json.hpp>

#include "node/region_record.h"

namespace heca::node {

[[nodiscard]] nlohmann::json LeaseToJson(const LeaseRecord& record);
/// Throws nlohmann::json::exception for what LeaseToJson did not write.
[[nodiscard]] LeaseRecord LeaseFromJson(const nlohmann::json& from);

}  // namespace heca::node
