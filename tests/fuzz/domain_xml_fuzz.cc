// SPDX-License-Identifier: LGPL-2.1-or-later
// Domain XML, from libvirt or by hand: what is made ready is ready, says the wish, and is repaired already.
#include <cstdlib>

#include "domain/ready.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace heca::domain;
  const std::string_view xml(reinterpret_cast<const char*>(data), size);
  (void)ReadMetadata(xml);
  if (const auto repaired = RepairIncoming(xml); repaired.ok()) {
    const auto again = RepairIncoming(*repaired);
    if (!again.ok() || *again != *repaired) std::abort();
  }
  ReadyOptions options;
  options.wish.ratio = heca::Ratio{1, 3};
  const auto ready = MakeReady(xml, options);
  if (!ready.ok()) return 0;
  const auto again = MakeReady(*ready, options);
  const auto read = ReadMetadata(*ready);
  const auto incoming = RepairIncoming(*ready);
  if (!again.ok() || *again != *ready || !read.ok() || read->wish.ratio != options.wish.ratio) std::abort();
  if (!MentionsHeca(*ready) || !incoming.ok() || *incoming != *ready) std::abort();
  return 0;
}
