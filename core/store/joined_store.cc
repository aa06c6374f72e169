// SPDX-License-Identifier: LGPL-2.1-or-later
#include "store/joined_store.h"

#include <algorithm>
#include <utility>

#include "store/joined_reader.h"
#include "store/joined_writer.h"

namespace heca::store {

JoinedStore::JoinedStore(PageStore* image, std::uint32_t image_slots, PageStore& lease)
    : image_(image), image_slots_(image_slots), lease_(lease), image_needed_(image != nullptr) {}

Result<std::unique_ptr<PageReader>> JoinedStore::OpenReader(Role role) {
  HECA_ASSIGN_OR_RETURN(auto lease, lease_.OpenReader(role));
  std::unique_ptr<PageReader> image;
  if (image_needed()) {
    HECA_ASSIGN_OR_RETURN(image, image_->OpenReader(role));
  }
  return JoinedReader::Create(std::move(image), image_slots_, std::move(lease), PageSize(), image_needed_);
}

Result<std::unique_ptr<PageWriter>> JoinedStore::OpenWriter() {
  HECA_ASSIGN_OR_RETURN(auto lease, lease_.OpenWriter());
  return std::unique_ptr<PageWriter>(std::make_unique<JoinedWriter>(image_slots_, std::move(lease)));
}

StoreHealth JoinedStore::Health() const {
  return image_needed() ? std::max(image_->Health(), lease_.Health()) : lease_.Health();
}

std::string JoinedStore::Describe() const {
  return image_needed() ? image_->Describe() + " and " + lease_.Describe() : lease_.Describe();
}

}  // namespace heca::store
