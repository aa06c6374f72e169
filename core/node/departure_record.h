// SPDX-License-Identifier: LGPL-2.1-or-later
// The journal of VMs that leave this node: `<run-dir>/departures/ID.json` on tmpfs, and hard links to their RAM files in
// the same file systems, so that the memory outlives both QEMU and hecad until the destination has it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "heca/status.h"
#include "node/region_record.h"

namespace heca::node {

enum class DepartureStage : std::uint8_t {
  kInvalid = 0,
  kStreaming = 1,  ///< the VM runs here, or waits for our word at its switch-over: it is to go on here
  kOpened = 2,     ///< the destination may have it: QEMU decides
  kOver = 3,       ///< the VM is here, or the destination has all of it: links may be left
};

/// A part of a RAM file.
struct DepartingBlock {
  std::string path;  ///< of the RAM file, as its process sees it
  std::string link;  ///< our own name of it, made when it is opened; empty: none could be
  std::uint64_t inode = 0;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
};

struct DepartureRecord {
  RegionId region;
  DepartureStage stage = DepartureStage::kInvalid;
  std::int32_t pid = 0;
  std::uint64_t start_time = 0;  ///< field 22 of /proc/PID/stat
  std::string qmp_socket;
  RegionId governed;     ///< the region whose VM it is, if its memory is governed
  bool ran = true;       ///< before: it is to be continued if it stays
  LeaseRecord image;     ///< `address` is the destination's control plane
  std::vector<DepartingBlock> blocks;
};

[[nodiscard]] std::string Encode(const DepartureRecord& record);
[[nodiscard]] Result<DepartureRecord> DecodeDeparture(const std::string& text);

/// The directory of departures. One thread at a time per record.
class DepartureJournal {
 public:
  explicit DepartureJournal(std::string directory) : directory_(std::move(directory)) {}
  Status Prepare() const;
  Status Write(const DepartureRecord& record) const;
  void Erase(LeaseId image) const;
  [[nodiscard]] std::vector<DepartureRecord> ReadAll() const;

 private:
  [[nodiscard]] std::string PathOf(LeaseId image) const;
  std::string directory_;
};

}  // namespace heca::node
