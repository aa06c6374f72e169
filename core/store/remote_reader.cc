// SPDX-License-Identifier: LGPL-2.1-or-later
#include "store/remote_reader.h"

namespace heca::store {

std::size_t RemoteReader::Poll(ReadSink& sink) {
  sink_ = &sink;
  delivered_ = 0;
  Advance();
  return delivered_;
}

void RemoteReader::Complete(OpKind /*kind*/, OpTag tag, std::span<const Slot> /*slots*/, const Status& status,
                            std::span<const std::byte> pages) {
  ++delivered_;
  sink_->OnRead(tag, status, pages);
}

}  // namespace heca::store
