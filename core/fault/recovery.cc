// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fault/recovery.h"

#include <algorithm>
#include <optional>

namespace heca::fault {

using region::Block;
using region::PageEntry;
using region::PageState;

namespace {

/// True if asking whether the page is there leaves the write protection of a clean page as it was.
bool KeepsArm(LoopContext& loop, PageIndex page) {
  return loop.map.BlockOf(page).file.knows_holes() || loop.config.abilities.continue_protected;
}

/// Is the page in a file on hugetlbfs? The only oracle is CONTINUE, which maps it; none if the kernel will not say.
std::optional<bool> InHugePages(LoopContext& loop, PageIndex page, const PageEntry& entry) {
  const bool keep = entry.clean && loop.config.abilities.continue_protected;
  Patience patience(loop);
  while (true) {
    switch (loop.placer.Continue(page, keep ? os::Arm::kYes : os::Arm::kNo).answer) {
      case KernelAnswer::kDone:
      case KernelAnswer::kPresent: return true;
      case KernelAnswer::kAbsent: return false;
      case KernelAnswer::kAgain:
        if (patience.Again()) continue;
        return std::nullopt;
      default: return std::nullopt;
    }
  }
}

/// Pages that are in a file on tmpfs, asked for in ascending order: one question to the kernel for each run of them, or of
/// those that are not. Nobody but the caller puts pages into the file meanwhile; a page that the guest discards may still
/// be said to be there.
class FileRuns {
 public:
  explicit FileRuns(const region::RegionMap& map) : map_(map) {}

  bool Has(PageIndex page) {
    const Block& block = map_.BlockOf(page);
    const os::FileOffset at = map_.OffsetOf(page);
    if (&block != block_ || at < from_ || at >= to_) Ask(block, at);
    return held_;
  }

 private:
  void Ask(const Block& block, os::FileOffset at) {
    const os::FileOffset end = block.offset + map_.BytesOf(block.pages.value()).value();
    const Result<os::FileExtent> data = block.file.NextData(at, end);
    block_ = &block;
    from_ = at;
    held_ = !data.ok() || data->start == at;  // where the file does not tell, the kernel will when the page is placed
    if (held_) {
      to_ = data.ok() ? data->end : at + map_.page_size().value();
    } else {
      to_ = data->start;
    }
  }

  const region::RegionMap& map_;
  const Block* block_ = nullptr;
  os::FileOffset from_{0};
  os::FileOffset to_{0};
  bool held_ = false;
};

class Recovery {
 public:
  Recovery(LoopContext& loop, Pager& pager) : loop_(loop), pager_(pager), runs_(loop.map) {}

  Status Run() {
    loop_.slots.CondemnUpTo(std::min(loop_.table.slot_mark(), Slot(loop_.slots.slot_count())));
    HECA_RETURN_IF_ERROR(MarkSlots());
    loop_.pump.DrainEvents();  // whoever waits for a discard to be read runs on
    for (const Block& block : loop_.map.blocks()) HECA_RETURN_IF_ERROR(Recover(block));
    for (const Block& block : loop_.map.blocks()) loop_.placer.Wake({block.first, block.pages.value()});
    return Status();
  }

 private:
  Status Recover(const Block& block) {
    const PageIndex end = block.first + block.pages.value();
    for (PageIndex page = block.first; page < end;) {
      if (!loop_.table.TouchedAround(page)) {
        const PageIndex next = std::min(region::PageTable::NextGroup(page), end);
        if (block.file.knows_holes()) HECA_RETURN_IF_ERROR(AdoptData(block, page, next));
        page = next;
        continue;
      }
      HECA_RETURN_IF_ERROR(RecoverPage(page));
      ++page;
    }
    return Status();
  }

  Status MarkSlots() {
    const PageIndex end(loop_.table.pages().value());
    for (PageIndex page(0); page < end;) {
      if (!loop_.table.TouchedAround(page)) {
        page = region::PageTable::NextGroup(page);
        continue;
      }
      const Slot slot = loop_.table.Get(page).slot;
      if (slot != kNoSlot) HECA_RETURN_IF_ERROR(loop_.slots.MarkUsed(slot));
      ++page;
    }
    return Status();
  }

  /// Pages that the table never knew.
  Status AdoptData(const Block& block, PageIndex from, PageIndex to) {
    const os::FileOffset end = block.offset + loop_.map.BytesOf(to - block.first).value();
    os::FileOffset at = loop_.map.OffsetOf(from);
    const std::uint64_t page_size = loop_.map.page_size().value();
    while (at < end) {
      HECA_ASSIGN_OR_RETURN(const os::FileExtent data, block.file.NextData(at, end));
      for (os::FileOffset page = data.start; page < data.end; page = page + page_size) {
        BecomeDirty(block.first + (page - block.offset) / page_size);
      }
      at = data.end;
    }
    return Status();
  }

  void BecomeDirty(PageIndex page) {
    const PageEntry old = loop_.table.Get(page);
    if (old.slot != kNoSlot) loop_.slots.Condemn(old.slot);
    const PageEntry entry{PageState::kHere, region::kArmedForNobody, false, old.policy, old.NextGeneration(), kNoSlot};
    loop_.table.Move(page, entry);
  }
  void BecomeZero(PageIndex page) {
    const PageEntry old = loop_.table.Get(page);
    if (old.slot != kNoSlot) loop_.slots.Condemn(old.slot);
    loop_.table.Move(page, PageEntry{PageState::kZero, region::kArmedForNobody, false, 0, old.NextGeneration(), kNoSlot});
  }
  void BecomeAway(PageIndex page) {
    PageEntry entry = loop_.table.Get(page);
    if (entry.slot == kNoSlot) {
      BecomeZero(page);
      return;
    }
    entry.state = PageState::kAway;
    entry.clean = false;
    entry.generation = entry.NextGeneration();
    loop_.table.Move(page, entry);
  }
  void TurnRound(PageIndex page) {
    BecomeDirty(page);
    Patience patience(loop_);
    while (loop_.placer.Unprotect({page, 1}).answer == KernelAnswer::kAgain && patience.Again()) {
    }
  }

  Status RecoverPage(PageIndex page) {
    // Asking about a huge page may read events, and a discard among them changes the entry.
    const std::optional<bool> in_file = loop_.map.BlockOf(page).file.knows_holes()
                                            ? std::optional(runs_.Has(page))
                                            : InHugePages(loop_, page, loop_.table.Get(page));
    const PageEntry entry = loop_.table.Get(page);
    if (!in_file) return Status(ErrorCode::kUnavailable, "the kernel does not tell which pages are here", ErrorScope::kRegion);
    switch (entry.state) {
      case PageState::kZero:
        if (*in_file) BecomeDirty(page);
        break;
      case PageState::kHere:
        if (!*in_file) {
          BecomeZero(page);
        } else if (!entry.clean || !KeepsArm(loop_, page)) {
          BecomeDirty(page);
        }
        break;
      case PageState::kLeaving:
      case PageState::kCancel:
        if (*in_file) TurnRound(page); else BecomeZero(page);
        break;
      case PageState::kDropping:
      case PageState::kComing:
      case PageState::kPrefetching:
        if (*in_file) TurnRound(page); else BecomeAway(page);
        break;
      case PageState::kAway:
        if (*in_file) pager_.RemoveStray(page);
        break;
      case PageState::kLost:  // this daemon's store may have it
        if (*in_file) pager_.RemoveStray(page);
        BecomeAway(page);
        break;
      case PageState::kPoisoned:
        break;
    }
    return Status();
  }

  LoopContext& loop_;
  Pager& pager_;
  FileRuns runs_;
};

}  // namespace

Status RecoverPages(LoopContext& loop, Pager& pager) { return Recovery(loop, pager).Run(); }

bool Census::Step() {
  const std::vector<Block>& blocks = loop_.map.blocks();
  if (block_ == blocks.size()) return false;
  const Block& block = blocks[block_];
  const bool more = block.file.knows_holes() ? StepFile(block) : StepHuge(block);
  if (!more) {
    ++block_;
    page_ = 0;
  }
  return block_ < blocks.size();
}

bool Census::StepFile(const Block& block) {
  const std::uint64_t page_size = loop_.map.page_size().value();
  const os::FileOffset end = block.offset + loop_.map.BytesOf(block.pages.value()).value();
  const Result<os::FileExtent> data = block.file.NextData(block.offset + page_ * page_size, end);
  if (!data.ok() || data->start == data->end) return false;
  page_ = (data->start - block.offset) / page_size;
  const std::uint64_t stop = (data->end - block.offset) / page_size;  // RamFile::kLongestRun pages at most: some 20 us
  for (; page_ < stop; ++page_) {
    if (loop_.table.Get(block.first + page_).state == PageState::kZero) pager_.Adopt(block.first + page_);
  }
  return page_ < block.pages.value();
}

bool Census::StepHuge(const Block& block) {
  const PageIndex page = block.first + page_;
  if (loop_.table.Get(page).state == PageState::kZero) {
    const std::optional<bool> in_file = InHugePages(loop_, page, loop_.table.Get(page));
    if (in_file.value_or(false) && loop_.table.Get(page).state == PageState::kZero) pager_.Adopt(page);
  }
  return ++page_ < block.pages.value();
}

}  // namespace heca::fault
