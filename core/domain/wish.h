// SPDX-License-Identifier: LGPL-2.1-or-later
// What an operator wants of one domain's memory, in the words of the metadata and of hecactl. Every part may be left
// open: whoever acts on a wish has a default of its own. Values and pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/size.h"
#include "base/transport_choice.h"
#include "heca/status.h"
#include "heca/types.h"

namespace heca::domain {

/// How RAM goes to another host. "post-copy", "hybrid", "pre-copy".
enum class MigrationMode : std::uint8_t { kInvalid = 0, kPostCopy = 1, kHybrid = 2, kPreCopy = 3 };

/// The word; "" for kInvalid.
[[nodiscard]] std::string_view ToString(MigrationMode mode);

/// A slip of the keyboard is seen; nobody keeps more copies of a page.
inline constexpr std::uint32_t kMaxReplicas = 8;

struct MemoryWish {
  std::optional<Ratio> ratio;  ///< excludes `local`; neither: all memory stays here until somebody says otherwise
  std::optional<Bytes> local;  ///< not zero
  std::optional<std::uint32_t> replicas;  ///< 1 to kMaxReplicas
  std::optional<MigrationMode> migration;
  std::optional<TransportChoice> transport;  ///< how pages go to a sponsor
  bool operator==(const MemoryWish&) const = default;
};

/// Sets the part called `name` ("ratio", "local", "replicas", "migration", "transport") from its text. Fails with
/// kInvalidArgument: the name is unknown, or the value is not one; the text names both and says what would do.
[[nodiscard]] Status SetWish(MemoryWish& wish, std::string_view name, std::string_view value);

/// kInvalidArgument if ratio and local are both given.
[[nodiscard]] Status CheckWish(const MemoryWish& wish);

/// `newer` where it says something, else `older`; a newer ratio takes the place of an older local, and the other way.
[[nodiscard]] MemoryWish Merge(const MemoryWish& older, const MemoryWish& newer);

}  // namespace heca::domain
