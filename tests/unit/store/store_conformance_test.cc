// SPDX-License-Identifier: LGPL-2.1-or-later
#include "support/page_store_conformance.h"

#include "joined_rig.h"
#include "sponsor_rig.h"

namespace heca::test {
namespace {

class RemoteUnderTest final : public StoreUnderTest {
 public:
  explicit RemoteUnderTest(Wire wire) : rig_(wire) {
    auto store = store::RemoteStore::Create(rig_.line(), rig_.MustReserve(256), rig_.Options());
    EXPECT_TRUE(store.ok());
    store_ = std::move(store).value();
  }
  PageStore& store() override { return *store_; }
  bool Interrupt() override {
    rig_.BreakConnections();
    return true;
  }

 private:
  SponsorRig rig_;
  std::unique_ptr<store::RemoteStore> store_;
};

INSTANTIATE_TEST_SUITE_P(
    Remote, PageStoreConformance,
    ::testing::Values(StoreCase{"loopback", [] { return std::make_unique<RemoteUnderTest>(Wire::kLoopback); }},
                      StoreCase{"tcp", [] { return std::make_unique<RemoteUnderTest>(Wire::kTcp); }}),
    StoreCaseName);

class JoinedUnderTest final : public StoreUnderTest {
 public:
  explicit JoinedUnderTest(bool with_image) : joined_(with_image), behind_(joined_.store()) {}
  PageStore& store() override { return behind_; }
  bool Interrupt() override {
    joined_.rig().BreakConnections();
    return true;
  }

 private:
  Joined joined_;
  BehindImage behind_;
};

INSTANTIATE_TEST_SUITE_P(
    Joined, PageStoreConformance,
    ::testing::Values(StoreCase{"with_image", [] { return std::make_unique<JoinedUnderTest>(true); }},
                      StoreCase{"image_given_back", [] { return std::make_unique<JoinedUnderTest>(false); }}),
    StoreCaseName);

}  // namespace
}  // namespace heca::test
