"""Folders of images with boxes: COCO, YOLO and Pascal VOC."""
