// SPDX-License-Identifier: LGPL-2.1-or-later
// What a sponsor must remember of a lease across a restart, and its text form: one "key value" line each, the format's
// version first, `end` last. Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "control/sponsor_api.h"
#include "heca/status.h"
#include "heca/types.h"
#include "store/slab.h"

namespace heca::store {

inline constexpr std::uint32_t kLeaseRecordVersion = 1;

struct LeaseRecord {
  LeaseId id;
  Epoch epoch;
  control::Secret secret{};
  control::Secret claim{};  ///< of the take-over that led to this epoch: makes it repeatable; zeros: none
  std::string owner_node;
  std::string owner_boot_id;
  RegionId region;
  SlabShape shape;
  std::size_t slabs = 0;
  Backing backing = Backing::kInvalid;
  bool opened = false;  ///< data connections were asked for: its owner knows of it, so it is never freed for idleness

  [[nodiscard]] Bytes Reserved() const { return Bytes(shape.payload.value() * slabs); }
  [[nodiscard]] control::LeaseKey Key() const { return {id, epoch, secret}; }
};

[[nodiscard]] std::string Format(const LeaseRecord& record);
/// kDataLoss for text that Format did not write, kUnsupported for another version.
[[nodiscard]] Result<LeaseRecord> ParseLeaseRecord(std::string_view text);

}  // namespace heca::store
