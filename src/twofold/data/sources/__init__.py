"""Where images come from. Each source is one file with one function that answers with the same `Found`.

A further source is one more file, and one more line in `find.py`; a further format of boxes, one in `boxes_find.py`.

| file | what |
| --- | --- |
| `find.py` | `find_data`: which source a name or a path means |
| `found.py` | `Found`: what every source answers with; `FilePart`: the files of a split |
| `folder.py` | `open_folder`: one folder a class, with or without train/, val/ and test/ |
| `table.py` | `open_table`: images whose labels stand in a table; `list_table`: its rows, unopened |
| `table_file.py` | `read_table`: CSV, JSON lines or Parquet to columns of text |
| `table_columns.py` | `find_columns`: which column says what |
| `table_labels.py` | `read_labels`: the labels of each row, from one column or from a column a label |
| `table_index.py` | `ImageIndex`: the images of a folder by the names that tables have for them |
| `boxes.py` | `open_boxes`: images with boxes, decoded and checked, to `BoxTargets` |
| `boxes_find.py` | `list_boxes`: which format of boxes a text means, or a folder has |
| `boxes_listing.py` | `BoxListing`: what every reader of boxes returns; values and files as strangers write them |
| `boxes_check.py` | `usable_boxes`: each box against its image, units, duplicates |
| `coco.py` | `list_coco`: COCO's JSON |
| `voc.py` | `list_voc`: Pascal VOC's XML |
| `yolo.py` | `list_yolo`: YOLO's text, with data.yaml or without |
| `labelme.py` | `list_labelme`: labelme's JSON |
| `boxes_csv.py` | `list_boxes_csv`: a table with a row a box |
| `named.py` | `open_named`: a data set known by name: embedded, cached, found on the system, or downloaded |
| `named_boxes.py` | `open_named_boxes`: Pascal VOC and COCO: found unpacked, or downloaded |
| `hub.py` | `open_hub`: a data set of the Hugging Face hub, or in its format on disk |
| `packed.py` | `open_packed`: any image of a packed folder by index, every record checked; `find_damage` |
| `pack.py` | `pack_folder`: a folder to a few large files |
| `encode.py` | `encode_image`: how an image is stored in a pack |
| `listing.py` | `list_folder`: the image files below a folder, by split and class; `list_images`: all of them |
| `layout.py` | what is said of folders that are not one folder a class: archives, runs, tables, detection data |
| `problems.py` | `Problem` and `DataError`: what is wrong with a folder, all of it at once |
| `archives.py` | the published files of the named data sets, to tensors |
| `idx.py` | the file format of MNIST and its relatives |
| `embedded.py` | fashion-mini, the data set inside the package |
| `scenes.py` | `open_scenes`: fashion-scenes, garments of fashion-mini on backgrounds, with their boxes |
| `store.py` | prepared data sets on disk: one safetensors file each |
"""
