// SPDX-License-Identifier: LGPL-2.1-or-later
// The write-back thread: reads armed pages out of the RAM file into a buffer, sends them to the store and reports the
// acknowledgements. It moves bytes and decides nothing; it never touches the page table, the userfaultfd or the guest.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <span>
#include <thread>

#include "fault/wake_fd.h"
#include "fault/write_back_job.h"
#include "heca/page_store.h"
#include "region/region_map.h"

namespace heca::fault {

/// Owns its thread. Jobs come and go by the exchange; WakeUp after pushing.
class Mover final : private WriteSink {
 public:
  /// `buffers`: where the jobs' buffers lie, all of them; they outlive it.
  Mover(const region::RegionMap& map, JobExchange& exchange, std::span<const std::byte> buffers, WakeFd& loop_wake,
        std::unique_ptr<PageWriter> writer);
  ~Mover() override;

  void Start();
  /// Ends the thread; jobs in flight stay where they are (the journal knows them as Leaving).
  void Stop();
  void WakeUp() { wake_.Signal(); }
  /// Of one write or release; fixed. Any thread.
  [[nodiscard]] std::size_t max_batch() const { return max_batch_; }

 private:
  struct Active {
    JobIndex index = 0;
    bool read = false;          ///< the buffer holds the pages
    std::size_t next = 0;       ///< first item that was not sent
    std::size_t in_flight = 0;  ///< writes without acknowledgement
  };

  void OnWritten(OpTag tag, const Status& status) override;
  void OnReleased(OpTag tag, const Status& status) override;
  void Run();
  void TakeJobs();
  void Advance();
  void ReadPages(WriteBackJob& job);
  [[nodiscard]] bool SendMore(Active& active);
  void StartReleases();
  void Report(JobIndex index);

  const region::RegionMap& map_;
  JobExchange& exchange_;
  WakeFd& loop_wake_;
  WakeFd wake_;
  std::unique_ptr<PageWriter> writer_;
  const std::size_t max_batch_;
  std::array<Active, kWriteBackJobs> active_{};
  std::size_t active_count_ = 0;
  std::array<JobIndex, kReleaseJobs> waiting_releases_{};
  std::size_t waiting_release_count_ = 0;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace heca::fault
