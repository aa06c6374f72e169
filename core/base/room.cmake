find_package(spdlog REQUIRED)
find_package(fmt REQUIRED)
target_link_libraries(heca_base PUBLIC spdlog::spdlog fmt::fmt)
set_source_files_properties(${HECA_CORE}/base/version.cc PROPERTIES COMPILE_DEFINITIONS HECA_VERSION="${PROJECT_VERSION}")
