# Stands in for a build of 3D Slicer: as much of its CMake macros as a scripted extension uses, with their strictness.
# An unknown keyword or a listed file that is missing ends the configuration, as in the real ones.

set(Slicer_USE_FILE "${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake")
set(Slicer_EXTENSION_GENERATE_CONFIG "${CMAKE_CURRENT_LIST_DIR}/GenerateConfig.cmake")
set(Slicer_EXTENSION_CPACK "${CMAKE_CURRENT_LIST_DIR}/CPack.cmake")
set(Slicer_QTSCRIPTEDMODULES_LIB_DIR "lib/Slicer-5.12/qt-scripted-modules")
set(Slicer_STANDIN_LAUNCHER "" CACHE STRING "What runs a test script in place of Slicer")
set(Slicer_FOUND TRUE)
