find_package(spdlog REQUIRED)
find_package(fmt REQUIRED)
target_link_libraries(heca_base PUBLIC spdlog::spdlog fmt::fmt)
