// SPDX-License-Identifier: LGPL-2.1-or-later
// How much of the donated memory is taken. A charge is a value that gives its bytes back when it goes away, so the
// count is exact whatever path a lease ends on.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>

#include "heca/status.h"
#include "heca/types.h"

namespace heca::store {

class QuotaCharge;

/// Thread-safe. Shared by its charges, which can outlive the sponsor that made it (a connection that still sends
/// from a freed lease): hence shared_ptr.
class Quota : public std::enable_shared_from_this<Quota> {
 public:
  static std::shared_ptr<Quota> Create(Bytes donated) { return std::shared_ptr<Quota>(new Quota(donated)); }

  /// kResourceExhausted with the numbers when that much is not free.
  Result<QuotaCharge> Take(Bytes bytes);
  /// For leases found at a restart: they exist, even if the donation was made smaller since.
  QuotaCharge TakeAnyway(Bytes bytes);

  [[nodiscard]] Bytes donated() const { return donated_; }
  [[nodiscard]] Bytes Taken() const;

 private:
  friend class QuotaCharge;
  explicit Quota(Bytes donated) : donated_(donated) {}
  void Give(Bytes bytes);

  const Bytes donated_;
  mutable std::mutex mutex_;
  std::uint64_t taken_ = 0;
};

/// Move-only. One thread at a time.
class QuotaCharge {
 public:
  QuotaCharge(QuotaCharge&& other) noexcept;
  QuotaCharge& operator=(QuotaCharge&& other) = delete;
  ~QuotaCharge();
  [[nodiscard]] Bytes bytes() const { return bytes_; }

 private:
  friend class Quota;
  QuotaCharge(std::shared_ptr<Quota> quota, Bytes bytes);

  std::shared_ptr<Quota> quota_;
  Bytes bytes_;
};

}  // namespace heca::store
