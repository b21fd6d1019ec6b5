"""What an MRML scene shows of a result. Needs Slicer or slicer-core, never Qt.

Importing this package costs nothing; its modules import vtk and slicer and are imported when a scene is at hand.

    ct_node     a volume node as CTVolume, without a copy
    points      control points of a markups node
    results     the door for the module: store, show, read back, remove results
    overlay     the heat map as a volume over the CT        colors      its colours
    table       one row per nodule                          chart       bars of the attributes
    layers      what the slice views show                   folder      subject hierarchy
    record      a result as JSON inside the scene
    standalone  stands in for the application on slicer-core render     slice views as PNG, likewise
"""
