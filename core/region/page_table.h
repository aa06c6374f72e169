// SPDX-License-Identifier: LGPL-2.1-or-later
// The state of every page of a region, in a file on tmpfs that is also the crash journal: what is stored here before
// an action is what a restarted daemon finds after SIGKILL at any moment.
//
// The file is allocated in full when it is made, 8 bytes a page: a store to the mapping that found the tmpfs full would
// be a SIGBUS in the fault loop. Sweeps skip what was never touched. Layout, host byte order (it never leaves the host):
// one page of TableHeader, then one 64-bit PageEntry a page.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "heca/status.h"
#include "heca/types.h"
#include "region/change_map.h"
#include "region/page_entry.h"
#include "region/region_map.h"

namespace heca::region {

/// Pages by state. Relaxed copies of the loop's counts: each is right, their sum may be off by moves in flight.
struct PageCounts {
  std::array<std::uint64_t, kPageStates> by_state{};
  std::uint64_t clean = 0;  ///< of those that are Here

  [[nodiscard]] std::uint64_t Of(PageState state) const { return by_state[static_cast<std::size_t>(state)]; }
  [[nodiscard]] std::uint64_t Resident() const;
  [[nodiscard]] std::uint64_t WithStore() const {
    return Of(PageState::kAway) + Of(PageState::kComing) + Of(PageState::kPrefetching);
  }
};

/// One writer: the region's fault loop. Get and Counts are thread-safe. Holds an exclusive flock on its file, so that
/// no two daemons serve one region.
class PageTable {
 public:
  /// What a table of so many pages takes of its file system.
  static Bytes FileBytes(PageCount pages);
  /// A new table, all pages Zero. `store` names what holds the slots. kAlreadyExists, kBusy (another daemon has it),
  /// kResourceExhausted (no room: no file is left behind).
  static Result<PageTable> Create(const std::string& path, const RegionMap& map, const std::string& store);
  /// The same for a region whose memory is elsewhere as a whole: page p is Away in slot p + 1.
  static Result<PageTable> CreateAway(const std::string& path, const RegionMap& map, const std::string& store);
  /// The table of a daemon that died. kFailedPrecondition if it was made for another region, store or version;
  /// kBusy if its daemon is alive.
  static Result<PageTable> Open(const std::string& path, const RegionMap& map, const std::string& store);

  PageTable(PageTable&& other) noexcept;
  PageTable& operator=(PageTable&&) = delete;
  ~PageTable();

  [[nodiscard]] PageCount pages() const { return pages_; }
  [[nodiscard]] PageEntry Get(PageIndex page) const {
    return PageEntry::Decode(entries_[page.value()].load(std::memory_order_acquire));
  }
  /// The one function that moves a page. An illegal move is our bug and ends the process.
  void Move(PageIndex page, const PageEntry& next);
  /// Changes what the policy remembers and nothing else.
  void SetPolicy(PageIndex page, std::uint8_t policy);

  [[nodiscard]] PageCounts Counts() const;
  [[nodiscard]] std::uint64_t CountOf(PageState state) const {
    return counts_[static_cast<std::size_t>(state)].load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t Resident() const;
  /// False if every page of the 512 around `page` has an untouched entry: sweeps skip them.
  [[nodiscard]] bool TouchedAround(PageIndex page) const { return touched_[page.value() / kGroup] != 0; }
  static constexpr std::uint64_t kGroup = 512;
  /// The first page that TouchedAround(page) says nothing of.
  [[nodiscard]] static PageIndex NextGroup(PageIndex page) { return PageIndex((page.value() / kGroup + 1) * kGroup); }

  /// The highest slot that was ever handed out; stored before the slot is used.
  [[nodiscard]] Slot slot_mark() const;
  void RaiseSlotMark(Slot slot);

  /// Every Move that changes more than what the policy remembers is in it.
  [[nodiscard]] ChangeMap& changes() { return changes_; }

 private:
  PageTable() = default;
  static Result<PageTable> Map(unique_fd file, PageCount pages);
  Status Recount();

  unique_fd file_;
  void* memory_ = nullptr;
  std::size_t memory_size_ = 0;
  std::atomic<std::uint64_t>* entries_ = nullptr;
  PageCount pages_{0};
  std::array<std::atomic<std::uint64_t>, kPageStates> counts_{};
  std::atomic<std::uint64_t> clean_{0};
  ChangeMap changes_;
  std::vector<std::uint16_t> touched_;  // entries of each group that are not all zero
};

}  // namespace heca::region
