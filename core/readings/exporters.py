"""Which formats each kind of reading can be written in. The first is the default."""

from __future__ import annotations

from core.readings.box_export import (
    export_box_table,
    export_coco,
    export_instances,
    export_instances_nifti,
    export_voc,
    export_yolo,
)
from core.readings.class_table import export_classes
from core.readings.dicom_seg_export import export_dicom_seg
from core.readings.export import Exporter, export_csv, export_masks, export_nifti

MASK_EXPORTERS: dict[str, Exporter] = {
    "masks": export_masks,
    "png": export_masks,  # the same under the name that the terminal uses for files
    "nifti": export_nifti,
    "dicom-seg": export_dicom_seg,
    "csv": export_csv,
    "coco": export_coco,
    "yolo": export_yolo,
    "classes": export_classes,
}
BOX_EXPORTERS: dict[str, Exporter] = {
    "coco": export_coco,
    "voc": export_voc,
    "yolo": export_yolo,
    "csv": export_box_table,
    "masks": export_instances,
    "nifti": export_instances_nifti,
    "classes": export_classes,
}
