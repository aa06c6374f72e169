// SPDX-License-Identifier: LGPL-2.1-or-later
// The RAM of a VM that is leaving this host, lent to the hecad it moves to: slot n is page n - 1. It can be read once the
// VM is stopped for good, and never written. A hole reads as zeros and stays a hole.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "heca/status.h"
#include "os/ram_file.h"
#include "store/leased_memory.h"

namespace heca::store {

/// A part of a RAM file; blocks are counted through as one row of pages.
struct ImageBlock {
  os::RamFile file;
  os::FileOffset offset;
  Bytes size;
};

/// Thread-safe.
class RamImage final : public LeasedMemory {
 public:
  /// kUnsupported for hugetlbfs: its holes cannot be told, and reading one would take a huge page.
  static Result<std::shared_ptr<RamImage>> Create(LeaseId id, Epoch epoch, std::vector<ImageBlock> blocks);
  ~RamImage() override;

  /// The VM is stopped and its disks are drained; until then every read is refused.
  void Open() { open_.store(true, std::memory_order_release); }
  /// The VM runs here again: nothing that is read from now on would be the image.
  void Close() { open_.store(false, std::memory_order_release); }

  struct Progress {
    std::uint64_t pages = 0;
    std::uint64_t released = 0;  ///< no longer needed by the borrower
  };
  [[nodiscard]] Progress progress() const;
  /// Runs of pages that hold nothing but zeros, holes or not, in order, as first page and count: they need no copy. Only
  /// once the VM is stopped. Looks at every page: some 0.1 us each.
  struct Run {
    std::uint64_t first = 0;
    std::uint64_t pages = 0;
  };
  [[nodiscard]] Result<std::vector<Run>> Holes() const;

  [[nodiscard]] Bytes PageSize() const override { return kBasePage; }
  [[nodiscard]] std::uint32_t SlotCount() const override { return pages_; }
  Result<std::span<const std::byte>> ForRead(Slot slot) override;
  Result<std::span<std::byte>> BeginWrite(Slot slot, transport::Attempt attempt) override;
  void CommitWrite(Slot) override {}
  Status Release(Slot slot) override;

 private:
  struct Mapped {
    ImageBlock block;
    const std::byte* base = nullptr;  ///< ours, read-only
    std::uint64_t first = 0;          ///< page
  };

  RamImage(LeaseId id, Epoch epoch) : LeasedMemory(id, epoch) {}
  /// Null for a slot that does not exist.
  [[nodiscard]] const Mapped* BlockOf(Slot slot) const;

  std::vector<Mapped> blocks_;
  std::uint32_t pages_ = 0;
  std::vector<std::atomic<bool>> released_;
  std::atomic<std::uint64_t> released_count_{0};
  std::atomic<bool> open_{false};
};

}  // namespace heca::store
