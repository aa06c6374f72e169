// SPDX-License-Identifier: LGPL-2.1-or-later
// A batch of pages on its way to the store, and a batch of slots on its way back. Passed by index between the fault
// loop and the write-back thread: at any moment one of the two owns a job, and the rings hand it over.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "fault/io_wait.h"
#include "fault/spsc_ring.h"
#include "heca/status.h"
#include "heca/types.h"
#include "region/page_entry.h"

namespace heca::fault {

inline constexpr std::size_t kMaxBatchPages = 64;
/// 16384 pages may be armed ahead of a slow I/O guard; a job without a buffer costs one KiB.
inline constexpr std::size_t kWriteBackJobs = 256;
inline constexpr std::size_t kReleaseJobs = 8;

enum class JobStage : std::uint8_t {
  kFree = 0,
  kWaiting = 1,  ///< armed; I/O that was in flight may still land
  kSending = 2,  ///< the write-back thread has it
  kStored = 3,   ///< reported; the loop drops its pages
  kKept = 4,     ///< done; its buffer still serves faults
};

struct WriteBackItem {
  PageIndex page;
  Slot slot;
  region::Generation generation = 0;
  bool all_zero = false;  ///< set by the write-back thread: nothing was sent
};

struct WriteBackJob {
  JobStage stage = JobStage::kFree;
  std::size_t count = 0;
  std::array<WriteBackItem, kMaxBatchPages> items{};
  ArmedAt armed;
  bool waited = false;          ///< for I/O in flight, at least once
  std::byte* buffer = nullptr;  ///< count pages, item n at n * page size
  Status status;                ///< the first error; then no item counts as stored
  std::size_t finished = 0;     ///< items that the loop has dealt with
};

struct ReleaseJob {
  bool busy = false;
  std::size_t count = 0;
  std::array<Slot, kMaxBatchPages> slots{};
  Status status;
};

/// What the rings carry: a job's index, or kReleaseBit | index.
using JobIndex = std::uint32_t;
inline constexpr JobIndex kReleaseBit = 0x8000'0000;

struct JobExchange {
  std::array<WriteBackJob, kWriteBackJobs> jobs;
  std::array<ReleaseJob, kReleaseJobs> releases;
  SpscRing<JobIndex, 512> to_mover;
  SpscRing<JobIndex, 512> to_loop;
};
static_assert(kWriteBackJobs + kReleaseJobs <= 512, "the rings hold every job, so a push never fails");

}  // namespace heca::fault
