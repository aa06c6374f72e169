// SPDX-License-Identifier: LGPL-2.1-or-later
// When are the I/Os that were in flight at a given moment over? Direct disk I/O writes into pages that were pinned
// before eviction write-protected them, without any fault; such a page may be copied only after that I/O has ended
// (docs/architecture.md). The fault room asks, the guest room knows.
#pragma once

#include <cstdint>
#include <string>

#include "heca/types.h"

namespace heca {

/// A moment, as told by IoGuard::Mark. Later moments compare greater.
using IoMark = Strong<struct IoMarkTag, std::uint64_t>;

/// Thread-safe. Mark and Drained never block; an implementation that must ask QEMU does so on a thread of its own.
class IoGuard {
 public:
  virtual ~IoGuard() = default;
  /// Names this moment: called directly after a run of pages was write-protected.
  [[nodiscard]] virtual IoMark Mark() = 0;
  /// True once every I/O that was in flight at `mark` has ended. Once true for a mark, true for all earlier ones.
  [[nodiscard]] virtual bool Drained(IoMark mark) = 0;
  /// Milliseconds after which asking again is worth it (0: Drained is true at once).
  [[nodiscard]] virtual int RecheckMs() const = 0;
  /// The rule in force, for `attach` and `doctor`: "none needed: no direct disk I/O".
  [[nodiscard]] virtual std::string Describe() const = 0;
};

}  // namespace heca
