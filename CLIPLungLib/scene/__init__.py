"""What an MRML scene shows of a result. Needs Slicer or slicer-core, never Qt.

Importing this package costs nothing; its modules import vtk and slicer and are imported when a scene is at hand.

    volume_node     a volume node as CTVolume, without a copy
    control_points  control points of a markups node, by their IDs
    result_store    the door for the module: store, show, read back, remove results
    ct_mark         what a CT held and where it lay when it was analyzed
    result_record   a result as JSON inside the scene       mask_text      its outline as text
    result_table    one row per nodule                      chart          bars of the attributes
    heatmap_node    the heat map as a volume over the CT    colors         its colours
    color_legend    what the colours mean                   slice_layers   what the slice views show
    outline_node    the outline, as one of: outline_segments (editable), outline_labelmap
    outline_edits   what a person draws: corrections measured, a segment as a click; correction_record keeps them
    segment_editor  what the Segment Editor has selected    axis_lines     long and short axis
    tagged_nodes    how CLIPLung finds the nodes it made    folder         subject hierarchy
    active_list     where clicks of the mouse go
"""
